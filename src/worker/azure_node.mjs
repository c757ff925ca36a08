// Serves the functions of an Azure Functions app in Node's v4 programming model (package.json, @azure/functions) to worker/http_host.h,
// on 127.0.0.1:$PORT. Node's own modules only, beside the app's own @azure/functions, which makes what triggers give and reads what
// functions return; to it this is its host, the module @azure/functions-core. Embedded into mayfly, started as
// `node --input-type=module -e`.
//
// A call is an HTTP request whose Mayfly-Azure-… lines, which only the host can write, name the function. What was read for its bindings
// stands in front of the request's body; what it gives for those that are written, in front of the answer.
import crypto from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { Module } from "node:module";
import { pathToFileURL } from "node:url";

const TASK = process.env.AzureWebJobsScriptRoot, LOG_MAX = 4096;
const functions = new Map();   // by name: { metadata, callback }
const hooks = new Map();       // by name: callbacks, in order
const appHookData = {};
let model, httpUri, failed;

// ---- the host, as @azure/functions sees it

class Disposable {
  constructor(callback) { this.callback = callback; }
  dispose() { this.callback?.(); this.callback = undefined; }
}

function log(level, category, message) {
  if (category === "system" && (level === "debug" || level === "trace" || level === "information")) return;
  const line = { level, category, message, hookData: {}, appHookData };
  for (const callback of hooks.get("log") ?? []) callback(line);
  (level === "error" || level === "critical" || level === "warning" ? console.error : console.log)(`[${line.level}] ${line.message}`);
}

const core = {
  version: "3.12.0", hostVersion: "4.1000.0", Disposable, log,
  getProgrammingModel: () => model,
  setProgrammingModel: (chosen) => { model = chosen; },
  registerFunction(metadata, callback) {
    if (functions.has(metadata.name)) throw new Error(`A function with name "${metadata.name}" has already been registered.`);
    functions.set(metadata.name, { metadata, callback });
    return new Disposable(() => functions.delete(metadata.name));
  },
  registerHook(name, callback) {
    const all = hooks.get(name) ?? [];
    hooks.set(name, [...all, callback]);
    return new Disposable(() => hooks.set(name, hooks.get(name).filter((each) => each !== callback)));
  },
};
const load = Module._load;
Module._load = function (request, ...rest) { return request === "@azure/functions-core" ? core : load.call(this, request, ...rest); };

async function run_hooks(name, context) {
  for (const callback of hooks.get(name) ?? []) await callback(context);
}

// ---- which files: package.json's main is one file or a pattern, like src/{index.js,functions/*.js}

function expression_of(pattern) {
  let text = "", braces = 0;
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i];
    if (pattern.startsWith("**/", i)) { text += "(?:.*/)?"; i += 2; }
    else if (pattern.startsWith("**", i)) { text += ".*"; i += 1; }
    else if (c === "*") text += "[^/]*";
    else if (c === "?") text += "[^/]";
    else if (c === "{") { text += "(?:"; braces++; }
    else if (c === "}" && braces) { text += ")"; braces--; }
    else if (c === "," && braces) text += "|";
    else text += c.replace(/[\\^$+.()|[\]]/, "\\$&");
  }
  return new RegExp(`^${text}$`);
}

function files_below(folder, prefix = "") {
  const all = [];
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === "node_modules" || entry.name.startsWith(".")) continue;
    const name = prefix + entry.name;
    if (entry.isDirectory()) all.push(...files_below(path.join(folder, entry.name), name + "/"));
    else all.push(name);
  }
  return all;
}

function files_of(main) {
  const plain = path.posix.normalize(main).replace(/^\.\//, "");
  for (const name of [plain, plain + ".js", plain + "/index.js"])
    if (fs.statSync(path.join(TASK, name), { throwIfNoEntry: false })?.isFile()) return [name];
  const expression = expression_of(plain);
  return files_below(TASK).filter((name) => expression.test(name)).sort();
}

async function load_app() {
  const main = JSON.parse(fs.readFileSync(path.join(TASK, "package.json"), "utf8")).main;
  if (!main) throw new Error("package.json has no main, which names the files that register the functions, like src/functions/*.js");
  const files = files_of(main);
  if (files.length === 0) throw new Error(`main of package.json is '${main}': no file is there`);
  for (const file of files) {
    try {
      await import(pathToFileURL(path.join(TASK, file)));
    } catch (error) {
      console.error(error);
      const advice = error?.code?.endsWith("MODULE_NOT_FOUND") ? ": put the dependencies into the folder, by npm install" : "";
      throw new Error(`${file} can't be loaded: ${error?.name ?? "Error"}: ${String(error?.message ?? error).split("\n")[0]}${advice}`);
    }
  }
  if (!model) throw new Error("no file uses @azure/functions 4: the app has no functions of this programming model");
  httpUri = (await model.getCapabilities?.({}))?.HttpUri;  // older ones have none
  await run_hooks("appStart", { hookData: {}, appHookData });
}

// ---- calls

function value_of(data) {
  if (data === null || data === undefined) return null;
  if (data.json !== undefined) return JSON.parse(data.json);
  if (data.bytes !== undefined) {
    const bytes = Buffer.from(data.bytes), text = bytes.toString("utf8");
    return Buffer.from(text, "utf8").equals(bytes) ? text : bytes.toString("base64");
  }
  return data.string ?? data.int ?? data.double ?? null;
}

// By name what the host read for bindings (null: the blob isn't there), and what is left of the body.
function given_in_front(line, body) {
  const given = new Map();
  for (const [name, told] of new URLSearchParams(line)) {
    const [kind, size] = told.split(":");
    given.set(name, kind === "bytes" ? body.subarray(0, Number(size)) : null);
    body = body.subarray(Number(size));
  }
  return [given, body];
}

// Bytes as the binding says that it wants them: a text, which the package reads as JSON where it is that, or a Buffer.
function read_data(bytes, { dataType }) {
  if (bytes === null) return null;
  const text = /^binary$/i.test(dataType ?? "") ? undefined : bytes.toString("utf8");
  return text !== undefined && (/^string$/i.test(dataType ?? "") || Buffer.from(text, "utf8").equals(bytes)) ? { string: text } : { bytes };
}

const input_list = (found, given) =>
  [...given].map(([name, bytes]) => ({ name, data: read_data(bytes, found.metadata.bindings[name] ?? {}) }));

function output_parts(data) {
  if (data.json !== undefined) return ["json", Buffer.from(data.json)];
  if (data.bytes !== undefined) return ["bytes", Buffer.from(data.bytes)];
  return ["text", Buffer.from(String(data.string ?? data.int ?? data.double ?? ""))];
}

// An answer that is kept until its outputs stand in front of it: what send() and the package's own server say to it.
class Held {
  constructor(answer, method) { this.answer = answer; this.parts = []; this.head = method === "HEAD"; }
  get headersSent() { return false; }
  writeHead(status, headers) { this.status = status; this.headers = headers; return this; }
  end(body) { if (body !== undefined && !this.head) this.parts.push(Buffer.from(body)); }
  destroy() { this.answer.destroy(); }
  deliver(outputs) {
    const lines = [`HTTP/1.1 ${this.status} Answer`];
    for (const [name, value] of Object.entries(this.headers ?? {}))
      for (const each of [value].flat())
        if (!/^(content-length|transfer-encoding|connection)$/i.test(name)) lines.push(`${name}: ${String(each).replace(/[\r\n]/g, " ")}`);
    const body = Buffer.concat(this.parts), told = [], front = [];
    if (this.status !== 204 && this.status !== 304) lines.push(`content-length: ${body.length}`);
    for (const { name, data } of outputs) {
      const [kind, bytes] = output_parts(data);
      told.push(`${encodeURIComponent(name)}=${kind}:${bytes.length}`);
      front.push(bytes);
    }
    const whole = Buffer.concat([...front, Buffer.from(lines.join("\r\n") + "\r\n\r\n", "latin1"), body]);
    this.answer.writeHead(200, { "mayfly-azure-outputs": told.join("&") || "-", "content-length": whole.length });
    this.answer.end(whole);
  }
}

function outputs_of(response, found) {
  const outputs = (response.outputData ?? []).filter(({ data }) => data && !data.http);
  const returned = found.metadata.bindings.$return;
  if (returned && !/^http$/i.test(returned.type) && response.returnValue) outputs.push({ name: "$return", data: response.returnValue });
  return outputs;
}

const text_data = (value) => (typeof value === "string" ? { string: value } : { json: JSON.stringify(value) });

// What the trigger gives, of {"input", "metadata", "encoding"}.
function input_data(type, told) {
  let value = told.input ?? "";
  if (/^timerTrigger$/i.test(type)) {
    if (typeof value !== "object") value = { Schedule: { AdjustForDST: true }, ScheduleStatus: null, IsPastDue: false };
    return { json: JSON.stringify(value) };
  }
  return told.encoding === "base64" ? { bytes: Buffer.from(value, "base64") } : text_data(value);
}

function metadata_data(type, told) {
  const now = new Date(), later = new Date(now.getTime() + 7 * 86400e3);
  const own = /^queueTrigger$/i.test(type)
    ? { Id: crypto.randomUUID(), DequeueCount: 1, InsertionTime: now, ExpirationTime: later, NextVisibleTime: now, PopReceipt: "" } : {};
  return Object.fromEntries(Object.entries({ ...own, ...told.metadata }).map(([name, value]) => [name, text_data(value)]));
}

async function invoke(id, { metadata, callback }, request) {
  const context = { invocationId: id, metadata, request, state: undefined, log };
  const invocation = model.getInvocationModel(context);
  const { context: invocationContext, inputs } = await invocation.getArguments();
  const hookData = {};
  const before = { hookData, appHookData, invocationContext, inputs, functionCallback: callback };
  context.state = "preInvocationHooks";
  await run_hooks("preInvocation", before);
  const after = { hookData, appHookData, invocationContext, inputs: before.inputs, result: null, error: null };
  context.state = "invocation";
  try {
    after.result = await invocation.invokeFunction(invocationContext, before.inputs, before.functionCallback);
  } catch (error) {
    after.error = error;
  }
  context.state = "postInvocationHooks";
  await run_hooks("postInvocation", after);
  context.state = undefined;
  if (after.error) throw after.error;
  return invocation.getResponse(invocationContext, after.result);
}

// With app.setup({ enableHttpStream: true }) the package serves HTTP itself: the request goes there, and the answer comes from there.
function through_stream(id, request, body, answer) {
  return new Promise((resolve, reject) => {
    const headers = { ...request.headers, "x-ms-invocation-id": id, "x-forwarded-host": request.headers.host,
                      "x-forwarded-proto": request.headers["x-forwarded-proto"] ?? "http" };
    const inner = http.request(new URL(request.url, httpUri), { method: request.method, headers, agent: false }, (reply) => {
      answer.writeHead(reply.statusCode, reply.headers);
      if (answer instanceof Held) reply.on("data", (part) => answer.parts.push(part)).on("end", resolve);
      else reply.pipe(answer).on("finish", resolve);
      reply.on("error", reject);
    });
    inner.on("error", reject);
    inner.end(body);
  });
}

function cookie_line(cookie) {
  const attribute = (name, value) => (value === undefined || value === null ? "" : `; ${name}=${value}`);
  const expires = cookie.expires?.value, site = { lax: "Lax", strict: "Strict", explicitNone: "None" }[cookie.sameSite];
  return `${cookie.name}=${encodeURIComponent(cookie.value ?? "")}` + attribute("Max-Age", cookie.maxAge?.value) +
    attribute("Domain", cookie.domain?.value) + attribute("Path", cookie.path?.value) +
    attribute("Expires", expires && new Date(Number(expires.seconds ?? 0) * 1000).toUTCString()) +
    attribute("SameSite", site) + (cookie.httpOnly?.value ? "; HttpOnly" : "") + (cookie.secure?.value ? "; Secure" : "");
}

function send(answer, status, headers, body) {
  const kept = Object.entries(headers).filter(([name]) => !/^(content-length|transfer-encoding|connection)$/i.test(name));
  answer.writeHead(status, Object.fromEntries(kept));
  answer.end(body);
}

const send_json = (answer, status, value) =>
  send(answer, status, { "content-type": "application/json; charset=utf-8" }, JSON.stringify(value));

function describe({ metadata }) {
  return { name: metadata.name, bindings: Object.entries(metadata.bindings).map(([name, binding]) => ({ ...binding, name })) };
}

async function call_http(id, found, request, body, { parameters, given, wanted }, answer_itself) {
  const answer = wanted ? new Held(answer_itself, request.method) : answer_itself;
  const trigger = Object.entries(found.metadata.bindings).find(([, binding]) => /trigger$/i.test(binding.type));
  const { headers } = request;
  const url = `${headers["x-forwarded-proto"] ?? "http"}://${headers.host ?? "localhost"}${request.url}`;
  const flat = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value]));
  const data = { http: { url, method: request.method, headers: flat, params: parameters, body: { bytes: body } } };
  const triggerMetadata = { Headers: { json: JSON.stringify(flat) } };
  for (const [name, value] of Object.entries(parameters)) triggerMetadata[name] = { string: value };
  const traceContext = { traceParent: headers.traceparent ?? "", traceState: headers.tracestate ?? "", attributes: {} };
  const streamed = httpUri && through_stream(id, request, body, answer);
  const response = await Promise.race([
    invoke(id, found, { inputData: [{ name: trigger[0], data }, ...input_list(found, given)], triggerMetadata, traceContext }),
    ...(streamed ? [streamed.then(() => new Promise(() => {}))] : []),  // only where it fails does it come first
  ]);
  const outputs = outputs_of(response, found);
  for (const { name, data: value } of wanted ? [] : outputs) {
    const plain = value_of(value), text = typeof plain === "string" ? plain : JSON.stringify(plain);
    console.log(`output ${name} (${found.metadata.bindings[name].type}): ${text.slice(0, LOG_MAX)}`);
  }
  if (streamed) await streamed;
  else send_http(answer, response);
  if (wanted) answer.deliver(outputs);
}

function send_http(answer, response) {
  const given = response.returnValue?.http ?? response.outputData?.find(({ data }) => data?.http)?.data.http;
  if (!given) return send(answer, 204, {}, undefined);
  const head = { ...given.headers };
  if (given.cookies?.length) head["set-cookie"] = given.cookies.map(cookie_line);
  const bytes = given.body?.bytes ? Buffer.from(given.body.bytes) : given.body?.string;
  send(answer, Number(given.statusCode ?? 200), head, bytes);
}

async function call_by_hand(id, found, told, { given, wanted }, answer_itself) {
  const answer = wanted ? new Held(answer_itself, "POST") : answer_itself;
  const [name, trigger] = Object.entries(found.metadata.bindings).find(([, binding]) => /trigger$/i.test(binding.type));
  const read = given.get(name), text = /^string$/i.test(trigger.dataType ?? "");
  given.delete(name);
  const data = read ? (text ? { string: read.toString("utf8") } : { bytes: read }) : input_data(trigger.type, told);
  const response = await invoke(id, found, { inputData: [{ name, data }, ...input_list(found, given)],
                                             triggerMetadata: metadata_data(trigger.type, told) });
  const values = Object.fromEntries((response.outputData ?? []).map(({ name: of, data: value }) => [of, value_of(value)]));
  send_json(answer, 202, { Outputs: values, ReturnValue: value_of(response.returnValue) });
  if (wanted) answer.deliver(outputs_of(response, found));
}

async function serve(request, answer) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const { headers } = request;
  const ours = (name) => {
    const value = headers["mayfly-azure-" + name];
    delete headers["mayfly-azure-" + name];
    return value;
  };
  const name = ours("function"), by_hand = ours("by-hand"), wanted = ours("outputs");
  const parameters = Object.fromEntries(new URLSearchParams(ours("parameters") ?? ""));
  const [given, body] = given_in_front(ours("inputs") ?? "", Buffer.concat(parts));
  request.method = ours("method") ?? request.method;
  if (!name) return failed ? send(answer, 500, {}, failed) : send_json(answer, 200, [...functions.values()].map(describe));
  const id = headers["x-request-id"] ?? crypto.randomUUID(), found = functions.get(name);
  try {
    if (by_hand) await call_by_hand(id, found, body.length ? JSON.parse(body) : {}, { given, wanted }, answer);
    else await call_http(id, found, request, body, { parameters, given, wanted }, answer);
  } catch (error) {
    console.error(`[error] the function ${name} threw`, error);
    if (answer.headersSent) answer.destroy();
    else if (by_hand) send_json(answer, 500, { errorType: error?.name ?? typeof error, errorMessage: String(error?.message ?? error) });
    else send(answer, 500, {}, undefined);
  }
}

try {
  await load_app();
} catch (error) {
  failed = error.message;
  console.error(failed);
}
http.createServer({ keepAliveTimeout: 0, maxHeaderSize: 1 << 20 }, serve).listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", async () => {
  await run_hooks("appTerminate", { hookData: {}, appHookData });
  process.exit(0);
});
