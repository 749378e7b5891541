import { expect, test } from "bun:test";
import { mskMessage } from "../../../src/kafka/login/aws_login.ts";
import { type AwsCredentials, presign, sha256, signHeaders } from "../../../src/kafka/login/aws_signature.ts";

// Signatures that AWS has published.

const EXAMPLE: AwsCredentials = {
  accessKeyId: "AKIDEXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
  sessionToken: null,
  expiresMs: null,
};
const AT_2015 = Date.UTC(2015, 7, 30, 12, 36, 0);

test("a presigned URL: S3's example (Signature Version 4, authenticating requests by query parameters)", () => {
  const query = presign(
    {
      method: "GET",
      host: "examplebucket.s3.amazonaws.com",
      path: "/test.txt",
      service: "s3",
      region: "us-east-1",
      nowMs: Date.UTC(2013, 4, 24),
    },
    {},
    {
      ...EXAMPLE,
      accessKeyId: "AKIAIOSFODNN7EXAMPLE",
      secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    },
    { expiresSeconds: 86_400, payloadHash: "UNSIGNED-PAYLOAD" },
  );
  expect(query["X-Amz-Signature"]).toBe("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
});

test("headers: IAM's example, and the first of the test suite", () => {
  const request = { method: "GET", path: "/", region: "us-east-1", nowMs: AT_2015 } as const;
  const iam = signHeaders(
    { ...request, host: "iam.amazonaws.com", service: "iam" },
    { Action: "ListUsers", Version: "2010-05-08" },
    { "content-type": "application/x-www-form-urlencoded; charset=utf-8" },
    "",
    EXAMPLE,
  );
  expect(iam["authorization"]).toBe(
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, " +
      "SignedHeaders=content-type;host;x-amz-date, " +
      "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
  );
  expect(iam["x-amz-date"]).toBe("20150830T123600Z");
  const vanilla = signHeaders(
    { ...request, host: "example.amazonaws.com", service: "service" },
    {},
    {},
    "",
    EXAMPLE,
  );
  expect(vanilla["authorization"]).toEndWith(
    "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
  );
});

test("the message of AWS_MSK_IAM has what its specification names, in lower case, and is signed as a presigned URL is", () => {
  const credentials = { ...EXAMPLE, sessionToken: "a/token+of=session" };
  const host = "b-1.logs.abcde.c2.kafka.eu-central-1.amazonaws.com";
  const message = JSON.parse(mskMessage(host, "eu-central-1", credentials, AT_2015).toString());
  const request = {
    method: "GET",
    host,
    path: "/",
    service: "kafka-cluster",
    region: "eu-central-1",
  } as const;
  const options = { expiresSeconds: 900, payloadHash: sha256("") };
  const query = presign(
    { ...request, nowMs: AT_2015 },
    { Action: "kafka-cluster:Connect" },
    credentials,
    options,
  );
  expect(message).toEqual({
    "version": "2020_10_22",
    "host": host,
    "user-agent": "shipper",
    "action": "kafka-cluster:Connect",
    "x-amz-algorithm": "AWS4-HMAC-SHA256",
    "x-amz-credential": "AKIDEXAMPLE/20150830/eu-central-1/kafka-cluster/aws4_request",
    "x-amz-date": "20150830T123600Z",
    "x-amz-expires": "900",
    "x-amz-signedheaders": "host",
    "x-amz-security-token": "a/token+of=session",
    "x-amz-signature": query["X-Amz-Signature"]!,
  });
});
