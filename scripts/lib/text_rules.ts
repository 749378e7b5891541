/** Lock files and licences are not ours to word. */
const EXEMPT = /^(LICENSE|bench\/runs\/)/;

const RULES: readonly { pattern: RegExp; message: string; except?: RegExp }[] = [
  { pattern: /\b(T[O]DO|F[I]XME|X[X]X|H[A]CK)\b/, message: "a mark of unfinished work" },
  {
    pattern: /\b(registry\.\w+\.\w+|repo1?\.maven\.\w+|registry\.yarnpkg|npmjs\.(org|com)|pypi\.org)/i,
    message: "names a host of a package registry",
  },
  {
    pattern: /(?<![\w.~$}*-])\/(home\/(?!(u|me|you)\b)|Users\/|root\/|work\/|workspace\/|builds\/)[\w.-]/,
    message: "a path of one machine",
  },
  { pattern: /\b(test|it|describe)\.only\(/, message: "runs one test and hides the others" },
  { pattern: /^\s*export default\b/, message: "a default export; name it", except: /\.(md|json|d\.ts)$/ },
];

/** What does not belong in any file of the project, by line. */
export function strayText(path: string, text: string): string[] {
  if (EXEMPT.test(path)) return [];
  const violations: string[] = [];
  text.split("\n").forEach((line, index) => {
    for (const { pattern, message, except } of RULES) {
      const found = except?.test(path) ? null : pattern.exec(line);
      if (found) violations.push(`${path}:${index + 1}: ${message}: "${found[0].trim()}"`);
    }
  });
  return violations;
}
