// Runs a function that Vercel's builder made, as the platform would, and calls it.
// Usage: node lambda.js folder.func
const assert = require("node:assert/strict");
const http = require("node:http");
const fs = require("node:fs");
const path = require("node:path");
const { spawn } = require("node:child_process");

const folder = path.resolve(process.argv[2]);
const config = JSON.parse(fs.readFileSync(path.join(folder, ".vc-config.json")));
const bootstrap = config.filePathMap?.[config.handler] ?? config.handler;
const program = [path.join(folder, bootstrap), path.resolve(bootstrap)].find(fs.existsSync);

const calls = [
  { path: "/healthz", status: 503, body: { status: "failing", database: "unreachable" } },
  { path: "/api/sync?module=leads", status: 403 },
  { path: "/api/sync?module=Leads", headers: { authorization: "Bearer right" }, status: 400 },
  { path: "/api/sync?module=leads", headers: { authorization: "Bearer right" }, status: 500 },
  { path: "/nowhere", status: 404 },
];
let at = -1;
const began = process.hrtime.bigint();
const server = http.createServer((request, response) => {
  if (request.method === "GET") {
    if (++at === calls.length) return finish(0);
    const call = calls[at];
    response.setHeader("Lambda-Runtime-Aws-Request-Id", String(at));
    response.setHeader("Lambda-Runtime-Deadline-Ms", String(Date.now() + 60000));
    response.setHeader("Content-Type", "application/json");
    const body = JSON.stringify({ host: "x.example", path: call.path, method: "GET", headers: call.headers ?? {}, body: "" });
    return response.end(JSON.stringify({ body }));
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const call = calls[at];
    const answer = JSON.parse(Buffer.concat(chunks));
    const body = JSON.parse(Buffer.from(answer.body, answer.encoding ?? "utf8"));
    if (at === 0) console.log(`first answer ${Number(process.hrtime.bigint() - began) / 1e6} ms after the start`);
    console.log(call.path, answer.statusCode, JSON.stringify(body));
    assert.equal(answer.statusCode, call.status);
    if (call.body) assert.deepEqual(body, call.body);
    response.statusCode = 202;
    response.end();
  });
});

let child;
function finish(status) {
  child.kill();
  server.close();
  process.exit(status);
}
server.listen(0, "127.0.0.1", () => {
  const env = {
    AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${server.address().port}`, AWS_LAMBDA_FUNCTION_NAME: "f", CRON_SECRET: "right",
    DATABASE_URL: "postgres://u:p@127.0.0.1:1/db", ZOHO_DC: "eu", ZOHO_CLIENT_ID: "id", ZOHO_CLIENT_SECRET: "secret", ZOHO_REFRESH_TOKEN: "token",
  };
  child = spawn(program, { env, stdio: ["ignore", "ignore", "inherit"] });
  child.on("exit", (code) => at < calls.length && (console.error(`the function ended with ${code}`), process.exit(1)));
});
