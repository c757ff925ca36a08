// Runs one handler of an AWS Lambda package for Node.js on the Runtime API. Node's own modules only; embedded into mayfly, started as
// `node --input-type=module -e`. What it answers and the names of its errors are those of AWS's own client, aws-lambda-ric.
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";
import util from "node:util";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Writable } from "node:stream";

const ROOT = "/2018-06-01/runtime/", TASK = process.env.LAMBDA_TASK_ROOT;
const JSON_LOG = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";
const STREAMING = Symbol.for("mayfly.streaming");
// One connection to the Runtime API, which this process was given: descriptor 3. It doesn't keep the process alive while nothing is asked
// on it, so "the event loop is empty" means the handler's.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
agent.createConnection = () => new net.Socket({ fd: 3 });

class Fault extends Error {
  constructor(name, message, trace) {
    super(message);
    this.name = name;
    if (trace) this.stack = trace;
  }
}

function ask(method, what, body, more = {}) {
  return new Promise((resolve, reject) => {
    const headers = method === "POST" ? { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body), ...more } : more;
    const request = http.request({ agent, host: "runtime", method, path: ROOT + what, headers }, (reply) => {
      const parts = [];
      reply.on("data", (part) => parts.push(part));
      reply.on("end", () => resolve({ status: reply.statusCode, headers: reply.headers, text: Buffer.concat(parts).toString("utf8") }));
      reply.on("error", reject);
    });
    request.on("error", reject);
    request.end(body);
  });
}

// ---- errors

function describe(error) {
  if (error === null || typeof error !== "object" || !("message" in error || error instanceof Error))
    return { errorType: error === null ? "null" : typeof error,
             errorMessage: typeof error === "object" ? util.inspect(error) : String(error), trace: [] };
  const told = { errorType: String(error.name ?? "Error"), errorMessage: String(error.message),
                 trace: String(error.stack ?? "").split("\n") };
  if (error.reason !== undefined) told.reason = describe(error.reason);
  return told;
}

function tell(kind, told) {
  const { errorType, errorMessage, trace: stackTrace } = told;
  const line = { timestamp: new Date().toISOString(), level: "ERROR", requestId: lastId, message: kind, errorType, errorMessage, stackTrace };
  if (JSON_LOG) process.stderr.write(JSON.stringify(line) + "\n");
  else console.error(`${kind}\t${JSON.stringify({ errorType, errorMessage, stack: stackTrace })}`);
}

const ERROR_TYPE = "Lambda-Runtime-Function-Error-Type", ERROR_BODY = "Lambda-Runtime-Function-Error-Body";
const EXITS = { "Mayfly-Runtime-Exits": "1" };
const headerSafe = (text) => text.replace(/[^\x21-\x7e]/g, "?");
const postError = (what, told, more = {}) => ask("POST", what, JSON.stringify(told),
  { [ERROR_TYPE]: headerSafe(told.errorType), ...more });

// What nobody caught: the call that runs, or the start, fails of it, and so does the process.
async function die(kind, error, status) {
  const told = describe(error), id = current?.id, stream = current?.stream;
  tell(kind, told);
  if (dies) return;
  dies = true;
  current = undefined;
  try {
    if (stream?.request) await stream.fail(told, EXITS);
    else if (id) await postError(`invocation/${id}/error`, told, EXITS);
    else if (!started) await postError("init/error", told);
  } finally {
    process.exit(status);
  }
}

// ---- what it prints: time, the call's id and a level before it, as there

function decorateConsole() {
  const order = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
  const levels = { log: "INFO", info: "INFO", debug: "DEBUG", warn: "WARN", error: "ERROR", trace: "TRACE", fatal: "FATAL" };
  const least = order.indexOf((JSON_LOG && process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()) || "TRACE");
  for (const [name, level] of Object.entries(levels))
    console[name] = (...values) => {
      if (order.indexOf(level) < least) return;
      (order.indexOf(level) < order.indexOf("WARN") ? process.stdout : process.stderr).write(lineOf(level, values) + "\n");
    };
}

function lineOf(level, values) {
  const timestamp = new Date().toISOString();
  if (!JSON_LOG) return `${timestamp}\t${lastId ?? "undefined"}\t${level}\t${util.format(...values).replace(/\n/g, "\r")}`;
  const line = { timestamp, level, requestId: lastId, message: values.length === 1 ? values[0] : util.format(...values) };
  const trace = (error) => ({ errorType: error.constructor?.name ?? "UnknownError", errorMessage: error.message,
                              stackTrace: typeof error.stack === "string" ? error.stack.split("\n") : [] });
  const error = values.length > 1 && values.find((value) => value instanceof Error);
  try {
    return JSON.stringify(Object.assign(line, error && trace(error)), (_, value) =>
      (value instanceof Error ? Object.assign(trace(value), value) : value));
  } catch {  // a circle, or a BigInt
    return JSON.stringify({ ...line, message: util.format(...values) });
  }
}

// ---- the handler

function isModule(file) {  // what the nearest package.json says of .js
  for (let folder = path.dirname(file); folder.startsWith(TASK); folder = path.dirname(folder)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8")).type === "module";
    } catch (error) {
      if (error.code !== "ENOENT") throw new Fault("Runtime.UserCodeSyntaxError", `${folder}/package.json: ${error.message}`);
    }
    if (folder === TASK) break;
  }
  return false;
}

async function load(base) {
  const require = createRequire(path.join(TASK, "index.js"));
  const choices = [[base, isModule], [base + ".js", isModule], [base + ".mjs", () => true], [base + ".cjs", () => false]];
  const found = choices.find(([file]) => fs.statSync(file, { throwIfNoEntry: false })?.isFile());
  try {
    if (!found) return require(base);  // a folder's index.js; else Node's own words of what is missing
    return found[1](found[0]) ? await import(pathToFileURL(found[0]).href) : require(found[0]);
  } catch (error) {
    if (error instanceof SyntaxError) throw new Fault("Runtime.UserCodeSyntaxError", String(error), error.stack);
    if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND")
      throw new Fault("Runtime.ImportModuleError", String(error), error.stack);
    throw error;
  }
}

async function findHandler(name) {
  const base = path.basename(name), dot = base.indexOf(".");
  if (name.includes("..")) throw new Fault("Runtime.MalformedHandlerName", `'${name}' is not a valid handler name: it leaves the package`);
  if (dot < 0) throw new Fault("Runtime.MalformedHandlerName", "Bad handler");
  const loaded = await load(path.resolve(TASK, path.dirname(name), base.slice(0, dot)));
  const parts = base.slice(dot + 1).split(".");
  const pick = (from) => parts.reduce((nested, key) => nested?.[key], from);
  const handler = pick(loaded) ?? pick(loaded.default);
  if (handler === undefined) throw new Fault("Runtime.HandlerNotFound", `${name} is undefined or not exported`);
  if (typeof handler !== "function") throw new Fault("Runtime.HandlerNotFound", `${name} is not a function`);
  return handler;
}

// Posted as it is written, from the first byte on.
class ResponseStream extends Writable {
  contentType = "application/octet-stream";
  constructor(id) {
    super();
    this.id = id;
  }
  setContentType(type) { this.contentType = type; }
  open() {
    if (this.request) return;
    const headers = { "Content-Type": this.contentType, "Lambda-Runtime-Function-Response-Mode": "streaming", "Transfer-Encoding": "chunked",
                      "Trailer": `${ERROR_TYPE}, ${ERROR_BODY}` };
    this.request = http.request({ agent, host: "runtime", method: "POST", path: `${ROOT}invocation/${this.id}/response`, headers });
    this.accepted = new Promise((resolve, reject) => {
      this.request.on("error", reject);
      this.request.on("response", (reply) => reply.resume().on("end", resolve).on("error", reject));
    });
    this.accepted.catch((error) => this.destroy(error));
  }
  _write(part, encoding, done) {
    this.open();
    if (part.length === 0) return done();
    this.request.write(Buffer.from(part, encoding), done);
  }
  _final(done) {
    this.open();
    this.request.end();
    this.accepted.then(() => done(), done);
  }
  // What was written is not all, and this is why. Trailers have 8 KiB together.
  async fail(told, more = {}) {
    if (!this.writableEnded && !this.destroyed) await new Promise((done) => this.write("", () => done()));  // what waits leaves first
    let text = JSON.stringify(told);
    if (Buffer.byteLength(text) > 5000)
      text = JSON.stringify({ errorType: told.errorType.slice(0, 200), errorMessage: told.errorMessage.slice(0, 500), trace: [] });
    this.request.addTrailers({ [ERROR_TYPE]: headerSafe(told.errorType).slice(0, 200), [ERROR_BODY]: Buffer.from(text).toString("base64"),
                               ...more });
    this.request.end();
    await this.accepted.catch(() => {});
    this.destroy();
  }
}

globalThis.awslambda = {
  streamifyResponse(handler) {
    handler[STREAMING] = true;
    return handler;
  },
  HttpResponseStream: {
    from(stream, prelude) {
      stream.setContentType("application/vnd.awslambda.http-integration-response");
      stream.write(JSON.stringify(prelude));
      stream.write(Buffer.alloc(8));
      return stream;
    },
  },
};

// ---- a call

let current, lastId, started = false, dies = false;

function contextOf(headers, settle) {
  const env = process.env, deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const parsed = (name) => (headers[name] ? JSON.parse(headers[name]) : undefined);
  const context = {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION, functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE, logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME, clientContext: parsed("lambda-runtime-client-context"),
    identity: parsed("lambda-runtime-cognito-identity"), invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    awsRequestId: headers["lambda-runtime-aws-request-id"],
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
    done: (error, result) => settle(error, result),
    succeed: (result) => { context.callbackWaitsForEmptyEventLoop = false; settle(null, result); },
    fail: (error) => { context.callbackWaitsForEmptyEventLoop = false; settle(error ?? "handled"); },
  };
  return context;
}

// The outcome of one call: {error} or {value}. A callback's waits, where the context says so, until nothing is left to do.
function run(handler, headers, text) {
  return new Promise((resolve) => {
    let held, isAsync = false;
    const settle = (error, value) => {
      held ??= error === null || error === undefined ? { value } : { error };
      if (!context.callbackWaitsForEmptyEventLoop) resolve(held);
    };
    current.emptied = () => {
      const unresolved = new Fault("Runtime.NodeJsExit", "the handler's promise can no longer settle: nothing is left that could do it");
      resolve(held ?? (isAsync ? { error: unresolved } : { value: null }));
    };
    let context;
    try {
      context = contextOf(headers, settle);
      const event = JSON.parse(text);
      if (handler[STREAMING]) {
        const stream = current.stream = new ResponseStream(current.id);
        isAsync = true;
        stream.on("finish", () => resolve({ streamed: true }));
        stream.on("error", (error) => resolve({ error }));
        Promise.resolve(handler(event, stream, context)).then(() => stream.writableEnded || stream.end(), (error) => resolve({ error }));
        return;
      }
      const result = handler(event, context, settle);
      if (typeof result?.then !== "function") return;
      isAsync = true;
      result.then((value) => resolve({ value }), (error) => resolve({ error }));
    } catch (error) {
      resolve({ error });
    }
  });
}

function bodyOf(outcome) {
  try {
    return JSON.stringify(outcome.value === undefined ? null : outcome.value) ?? "null";
  } catch (error) {
    outcome.error = new Fault("Runtime.MarshalError", `Unable to stringify response body: ${error.message}`);
  }
}

async function main() {
  decorateConsole();
  process.on("uncaughtException", (error) => void die("Uncaught Exception", error, 129));
  process.on("unhandledRejection", (reason) => {
    const error = new Fault("Runtime.UnhandledPromiseRejection", reason instanceof Error ? String(reason) : util.format(reason));
    error.reason = reason;
    void die("Unhandled Promise Rejection", error, 128);
  });
  process.on("beforeExit", () => current?.emptied?.());
  const wanted = /nodejs(\d+)\.x/.exec(process.env.AWS_EXECUTION_ENV ?? "")?.[1];
  const there = process.versions.node.split(".")[0];
  let handler;
  try {
    if (wanted && Number(there) < Number(wanted))
      throw new Fault("Runtime.InvalidRuntime", `nodejs${wanted}.x wants Node.js ${wanted} or newer: here is ${process.version}`);
    if (wanted && wanted !== there) console.warn(`nodejs${wanted}.x runs on ${process.version}: this machine has no Node.js ${wanted}`);
    handler = await findHandler(process.env._HANDLER);
  } catch (error) {
    const told = describe(error);
    tell("Init Error", told);
    await postError("init/error", told);
    process.exit(1);
  }
  for (;;) {
    started = true;
    const next = await ask("GET", "invocation/next");
    if (next.status !== 200) {
      console.error(`no call to run: ${next.status} ${next.text}`);
      process.exit(1);
    }
    const id = next.headers["lambda-runtime-aws-request-id"], trace = next.headers["lambda-runtime-trace-id"];
    current = { id };
    lastId = id;
    if (trace) process.env._X_AMZN_TRACE_ID = trace;
    else delete process.env._X_AMZN_TRACE_ID;
    const outcome = await run(handler, next.headers, next.text);
    if (!current) return;  // it dies
    const { stream } = current;
    current = undefined;
    if (outcome.streamed) continue;
    const body = "error" in outcome ? undefined : bodyOf(outcome);
    if (!("error" in outcome)) {
      await ask("POST", `invocation/${id}/response`, body);
      continue;
    }
    const told = describe(outcome.error);
    tell("Invoke Error", told);
    if (stream?.request) await stream.fail(told);
    else await postError(`invocation/${id}/error`, told);
  }
}

main();
