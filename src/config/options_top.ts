import { choice, flag, group, integer, seconds, size, text } from "./option.ts";
import { checkListenAddress, checkPath } from "./string_checks.ts";

export const topGroup = group({
  table: "",
  type: null,
  title: "Top level",
  doc: "These options stand before the first table.",
  options: {
    data_dir: text({
      default: null,
      defaultText: "`/var/lib/shipper` for root, else `$XDG_STATE_HOME/shipper` or `~/.local/state/shipper`",
      check: checkPath,
      doc:
        "The folder for positions. It is made when it is missing, with mode 0700, and locked while shipper runs.",
      example: '"/var/lib/shipper"',
    }),
    rescue_max_size: size({
      default: 1_073_741_824,
      min: 0,
      max: 1_099_511_627_776,
      doc:
        "Files that are deleted, or moved out of their folder, before every sink has delivered them are copied to " +
        "`data_dir/rescue`, so that a crash does not lose them; at most so much at a time. `0` copies nothing. At least " +
        "5 % and 16 MiB of the disk are left free.",
      example: '"200MiB"',
    }),
    shutdown_timeout_secs: seconds({
      default: 10,
      min: 0,
      max: 86_400,
      doc:
        "How long SIGTERM and SIGINT wait for what is in flight. What is not confirmed by then is read again from " +
        "its file at the next start. A second signal ends the process at once.",
      example: "30",
    }),
    watch_config: flag({
      default: false,
      doc:
        "Takes a changed configuration over when one of its files changes, or a file that a secret is read from, as SIGHUP does; the flag " +
        "`--watch-config` sets it, too. See [reloading.md](reloading.md).",
      example: "true",
    }),
  },
  planned: [],
  tables: ["api", "log", "sources", "sinks"],
});

export const apiGroup = group({
  table: "api",
  type: null,
  title: "HTTP server",
  doc: "Serves `/health`, `/ready` and `/metrics`. Off unless the table is there.",
  options: {
    enabled: flag({
      default: true,
      doc: "False keeps the server off though the table is there.",
      example: "true",
    }),
    address: text({
      default: "127.0.0.1:8686",
      check: checkListenAddress,
      doc:
        "Where to listen: `host:port`, or `unix:/path` for a socket. A port that is taken ends the start. " +
        "There is no login: listen on a loopback address, or protect the port. On a loopback address requests are " +
        "answered that name an address or localhost as their host, no others (a proxy has to send one of these).",
      example: '"0.0.0.0:8686"',
    }),
    max_connections: integer({
      default: 64,
      min: 1,
      max: 10_000,
      doc:
        "Connections at a time, so that whoever reaches the port cannot take the descriptors that files need. Where there are as many, the one that its client has " +
        "left alone for longest, a second at least, is closed for a new one; a new one is refused when there is none. A client has 10 s for a whole request of 16 KiB at most, and 30 s to " +
        "take the answer.",
      example: "16",
    }),
  },
  planned: [],
});

export const logGroup = group({
  table: "log",
  type: null,
  title: "Log",
  doc: "shipper writes its own log to stderr.",
  options: {
    level: choice({
      values: ["debug", "info", "warn", "error"],
      default: "info",
      doc: "What is logged: this level and what is worse. The flag `--log-level` wins.",
      example: '"debug"',
    }),
    format: choice({
      values: ["auto", "pretty", "json"],
      default: "auto",
      doc: "`auto` is `pretty` on a terminal and `json`, one object a line, everywhere else.",
      example: '"json"',
    }),
  },
  planned: [],
});
