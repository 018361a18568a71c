// The program of a Node session: it runs snippets one after the other in one context, and says what came of each.
//
// It runs inside, by the sandbox's own Node (16 or newer): `node node_worker.js DESCRIPTOR`. Messages and answers are
// those of `python_worker.py`. SIGINT ends the snippet and not the session.
"use strict";
const net = require("node:net");
const util = require("node:util");
const vm = require("node:vm");
const { createRequire } = require("node:module");

const MOST_TEXT = 65536;
const MOST_FRAMES = 50;
const socket = new net.Socket({ fd: Number(process.argv[2]), readable: true, writable: true });
let waiting = Buffer.alloc(0);
let inspector = null;
let count = 0;
let turn = Promise.resolve();

process.argv.splice(1);
globalThis.require = createRequire(process.cwd() + "/");
process.on("SIGINT", () => {}); // one that comes when no snippet runs
process.on("unhandledRejection", (bad) => console.error(bad));
process.on("uncaughtException", (bad) => console.error(bad));

socket.on("data", (data) => {
  waiting = Buffer.concat([waiting, data]);
  while (waiting.length >= 4 && waiting.length >= 4 + waiting.readUInt32BE(0)) {
    const size = waiting.readUInt32BE(0);
    const text = waiting.subarray(4, 4 + size).toString();
    const at = text.indexOf("\0");
    const asked = { id: text.slice(0, at), code: text.slice(at + 1) };
    waiting = waiting.subarray(4 + size);
    if (size > 0) turn = turn.then(() => answer(asked)); // else one is about to come
  }
});
socket.on("end", () => process.exit(0));

async function answer(asked) {
  const said = { id: asked.id, value: null, error: null };
  count += asked.code ? 1 : 0; // an empty one asks whether we are there
  try {
    const found = await run(asked.code, `<snippet ${count}>`);
    if (found !== undefined) {
      globalThis._ = found;
      said.value = valueOf(found);
    }
  } catch (bad) {
    said.error = shownError(bad);
  }
  const data = Buffer.from(wellFormed(JSON.stringify(said)));
  const size = Buffer.alloc(4);
  size.writeUInt32BE(data.length);
  // what was printed is handed over first
  process.stdout.write("", () => process.stderr.write("", () => socket.write(Buffer.concat([size, data]))));
}

// A promise as the last value is waited for; SIGINT ends the waiting.
async function run(code, filename) {
  const options = { filename, breakOnSigint: true, importModuleDynamically: vm.constants?.USE_MAIN_CONTEXT_DEFAULT_LOADER };
  let found;
  try {
    found = new vm.Script(code, options).runInThisContext(options);
  } catch (bad) {
    if (!(bad instanceof SyntaxError && /\bawait\b/.test(code))) throw bad;
    found = awaiting(code, filename);
  }
  if (!util.types.isPromise(found)) return found;
  let stop;
  const stopped = new Promise((_, reject) => {
    stop = () => reject(Object.assign(new Error("the snippet was interrupted"), { name: "Interrupted" }));
    process.once("SIGINT", stop);
  });
  try {
    return await Promise.race([found, stopped]);
  } finally {
    process.removeListener("SIGINT", stop);
  }
}

// A snippet with `await` leaves its variables and gives its last value, as at a prompt: only the inspector can do that.
function awaiting(code, filename) {
  if (!inspector) (inspector = new (require("node:inspector").Session)()).connect();
  const name = filename.replace(" ", "_"); // a name with a blank is none here; `errorOf` shows it as it is called
  const asked = { expression: `${code}\n//# sourceURL=${name}`, replMode: true, awaitPromise: true };
  return new Promise((give, fail) => {
    inspector.post("Runtime.evaluate", asked, (bad, done) => {
      if (bad) fail(new Error(bad.message));
      else if (done.exceptionDetails) fail(here(done.exceptionDetails.exception));
      else give(here(done.result));
    });
  });
}

// What the inspector tells of a value is turned into the value.
function here(told) {
  if (told.unserializableValue) return vm.runInThisContext(told.unserializableValue);
  if (!told.objectId) return told.value;
  const taking = "function () { 'use strict'; globalThis[Symbol.for('taken')] = this; }";
  inspector.post("Runtime.callFunctionOn", { objectId: told.objectId, functionDeclaration: taking });
  inspector.post("Runtime.releaseObject", { objectId: told.objectId });
  const taken = globalThis[Symbol.for("taken")];
  delete globalThis[Symbol.for("taken")];
  return taken;
}

function valueOf(found) {
  const shown = { repr: util.inspect(found, { maxArrayLength: 1000 }).slice(0, MOST_TEXT), type: typeOf(found), mime: {} };
  try {
    const plain = JSON.stringify(found, plainOnly);
    if (plain !== undefined && plain.length <= MOST_TEXT) shown.json = JSON.parse(plain);
  } catch {}
  return shown;
}

// A map, a set or an error would be written as `{}`, as if it were empty.
function plainOnly(_, one) {
  const kind = typeof one === "object" && one !== null ? Object.getPrototypeOf(one) : null;
  if (kind !== null && kind !== Object.prototype && !Array.isArray(one)) throw new TypeError("it is no plain data");
  return one;
}

function typeOf(found) {
  try {
    return String(found === null ? "null" : found?.constructor?.name ?? typeof found).slice(0, 200);
  } catch {
    return typeof found;
  }
}

// What is thrown is a snippet's own, and may fail at being shown.
function shownError(bad) {
  try {
    return errorOf(bad);
  } catch {
    const text = "(the exception cannot be shown)";
    return { type: "Exception", message: text, traceback: [], text };
  }
}

// Halves of characters, which alone are written as escapes, are no text for others.
function wellFormed(json) {
  return json.replace(/\\(?:\\|ud[89a-f][0-9a-f]{2})/g, (one) => (one.length === 2 ? one : "\ufffd"));
}

function errorOf(bad) {
  if (bad?.code === "ERR_SCRIPT_EXECUTION_INTERRUPTED") bad = Object.assign(new Error("the snippet was interrupted"), { name: "Interrupted" });
  const text = (bad instanceof Error ? String(bad.stack) : util.inspect(bad)).replace(/<snippet_(\d+)>/g, "<snippet $1>");
  const frames = [];
  for (const line of text.split("\n")) {
    const found = /^\s+at (?:(.*?) \()?(<snippet \d+>|[^()]*?):(\d+):\d+\)?$/.exec(line);
    if (found) frames.push({ file: found[2].slice(0, 1000), line: Number(found[3]), name: (found[1] ?? "").slice(0, 200), text: "" });
  }
  const own = frames.filter((one) => one.file !== __filename && !one.file.startsWith("node:"));
  return {
    type: String(bad?.name ?? typeOf(bad)).slice(0, 200),
    message: String(bad?.message ?? text).slice(0, MOST_TEXT),
    traceback: own.slice(0, MOST_FRAMES).reverse(),
    text: text.split("\n").filter((line) => !line.includes(__filename) && !line.includes("node:")).join("\n").slice(0, MOST_TEXT),
  };
}
