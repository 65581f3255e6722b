// Zoho's own Node SDK, unchanged, as a client of the simulated Zoho: what it understands is
// Zoho's form. Usage: node proof.js http://127.0.0.1:9000
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import * as SDK from "./node_modules/@zohocrm/nodejs-sdk-8.0/lib/index.js"; // first: its modules import each other

const lib = "./node_modules/@zohocrm/nodejs-sdk-8.0/lib/";
const load = async (path) => await import(lib + path);
const { TokenStore } = await load("models/authenticator/store/token_store.js");
const api = "core/com/zoho/crm/api/";
const base = process.argv[2];

class MemoryStore extends TokenStore {
  tokens = new Map();
  async findToken(token) {
    return [...this.tokens.values()].find((t) => t.getRefreshToken() === token.getRefreshToken()) ?? null;
  }
  async findTokenById(id) {
    return this.tokens.get(id) ?? null;
  }
  async saveToken(token) {
    if (token.getId() == null) token.setId("only");
    this.tokens.set(token.getId(), token);
  }
  async deleteToken(id) {
    this.tokens.delete(id);
  }
  async getTokens() {
    return [...this.tokens.values()];
  }
  async deleteTokens() {
    this.tokens.clear();
  }
}

const store = new MemoryStore();
const token = new SDK.OAuthBuilder()
  .clientId("1000.ZOHOSIMCLIENT")
  .clientSecret("zohosim-client-secret")
  .refreshToken("1000.zohosim.refresh.token")
  .build();
const config = new SDK.SDKConfigBuilder().autoRefreshFields(false).pickListValidation(false).build();
await (
  await new SDK.InitializeBuilder()
)
  .environment(new SDK.Environment(base, base + "/oauth/v2/token", base))
  .token(token)
  .store(store)
  .SDKConfig(config)
  .resourcePath(tmpdir())
  .initialize();

let checks = 0;
async function check(what, fn) {
  try {
    await fn();
  } catch (error) {
    console.error(`FAILED: ${what}`);
    throw error;
  }
  checks++;
  console.log(`ok: ${what}`);
}

async function parameters(pairs) {
  const map = new SDK.ParameterMap();
  for (const [param, value] of pairs) await map.add(param, value);
  return map;
}

const { CoqlOperations } = await load(api + "coql/coql_operations.js");
const { BodyWrapper } = await load(api + "coql/body_wrapper.js");
async function coql(query) {
  const body = new BodyWrapper();
  body.setSelectQuery(query);
  return await new CoqlOperations().getRecords(body);
}

const keyset = "order by Modified_Time asc, id asc";
let last;

await check("token refresh", async () => {
  const response = await coql(`select id from Leads where id is not null ${keyset} limit 1`);
  assert.equal(response.getStatusCode(), 200);
  const [kept] = await store.getTokens();
  assert.match(kept.getAccessToken(), /^1000\./);
  const left = Number(kept.getExpiresIn()) - Date.now();
  assert.ok(left > 3_500_000 && left <= 3_600_000, `expires in ${left} ms`);
});
await check("COQL rows", async () => {
  const response = await coql(`select Last_Name, Owner, Annual_Revenue, Modified_Time from Leads where id is not null ${keyset} limit 200`);
  const body = response.getObject();
  assert.equal(body.getData().length, 200);
  assert.equal(body.getInfo().getCount(), 200);
  assert.equal(body.getInfo().getMoreRecords(), true);
  last = body.getData()[199];
  assert.match(String(last.getId()), /^\d{19}$/);
  assert.ok(last.getKeyValue("Last_Name").length > 0);
});
await check("COQL keyset", async () => {
  const at = last.getKeyValue("Modified_Time");
  const time = new Date(at).toISOString().replace(/\.\d+Z$/, "+00:00");
  const where = `(Modified_Time > '${time}' or (Modified_Time = '${time}' and id > ${last.getId()}))`;
  const response = await coql(`select Modified_Time from Leads where ${where} ${keyset} limit 10`);
  assert.equal(response.getObject().getData().length, 10);
});
await check("COQL count", async () => {
  const response = await coql("select COUNT(id) as n from Deals where id is not null");
  assert.ok(Number(response.getObject().getData()[0].getKeyValue("n")) >= 3000);
});
await check("COQL nothing found: 204", async () => {
  const response = await coql("select id from Leads where Last_Name = 'nobody has this name' limit 10");
  assert.equal(response.getStatusCode(), 204);
});
for (const [query, code] of [
  ["select id from Leads", "SYNTAX_ERROR"],
  ["select Nonsense from Leads where id is not null", "INVALID_QUERY"],
  ["select id from Nonsense where id is not null", "INVALID_MODULE"],
  ["select id from Leads where id is not null limit 2001", "LIMIT_EXCEEDED"],
  ["select id from Leads where (id is not null and Company is not null and City is not null)", "SYNTAX_ERROR"],
]) {
  await check(`COQL error ${code}: ${query}`, async () => {
    const response = await coql(query);
    assert.equal(response.getStatusCode(), 400);
    assert.equal(response.getObject().getCode().getValue(), code);
    assert.equal(response.getObject().getStatus().getValue(), "error");
  });
}

const { RecordOperations, GetRecordsParam, GetDeletedRecordsParam } = await load(api + "record/record_operations.js");
await check("get records, with page tokens", async () => {
  const seen = new Set();
  let pageToken;
  for (let page = 0; page < 12; page++) {
    const pairs = [
      [GetRecordsParam.FIELDS, "Last_Name,Owner,Converted__s"],
      [GetRecordsParam.PER_PAGE, 200],
      [GetRecordsParam.CONVERTED, "both"],
    ];
    if (pageToken) pairs.push([GetRecordsParam.PAGE_TOKEN, pageToken]);
    const response = await new RecordOperations("Leads").getRecords(await parameters(pairs));
    assert.equal(response.getStatusCode(), 200);
    const body = response.getObject();
    for (const record of body.getData()) seen.add(String(record.getId()));
    assert.equal(body.getInfo().getMoreRecords(), true);
    pageToken = body.getInfo().getNextPageToken();
  }
  assert.equal(seen.size, 2400);
});
await check("get records: page beyond 2000", async () => {
  const response = await new RecordOperations("Leads").getRecords(
    await parameters([
      [GetRecordsParam.FIELDS, "Last_Name"],
      [GetRecordsParam.PAGE, 11],
    ]),
  );
  assert.equal(response.getObject().getCode().getValue(), "DISCRETE_PAGINATION_LIMIT_EXCEEDED");
});
await check("a single record", async () => {
  const response = await new RecordOperations("Leads").getRecord(last.getId());
  assert.equal(response.getStatusCode(), 200);
  const record = response.getObject().getData()[0];
  assert.equal(String(record.getId()), String(last.getId()));
  assert.match(record.getKeyValue("Owner").getEmail(), /@example\.com$/);
});
await check("deleted records", async () => {
  const kinds = {};
  const response = await new RecordOperations("Leads").getDeletedRecords(await parameters([[GetDeletedRecordsParam.TYPE, "all"]]));
  for (const gone of response.getObject().getData()) {
    const kind = gone.getType();
    kinds[kind] = (kinds[kind] ?? 0) + 1;
    assert.ok(gone.getDeletedTime() instanceof Date);
    assert.equal(gone.getDeletedBy() == null, kind === "permanent");
  }
  assert.ok(kinds.recycle >= 16 && kinds.permanent === 4, JSON.stringify(kinds));
});
await check("deleted records of a module without any: 204", async () => {
  const response = await new RecordOperations("Contacts").getDeletedRecords(await parameters([]));
  assert.equal(response.getStatusCode(), 204);
});
await check("fields", async () => {
  const { FieldsOperations, GetFieldsParam } = await load(api + "fields/fields_operations.js");
  const response = await new FieldsOperations().getFields(
    await parameters([
      [GetFieldsParam.MODULE, "Leads"],
      [GetFieldsParam.TYPE, "all"],
    ]),
  );
  const fields = response.getObject().getFields();
  const status = fields.find((f) => f.getAPIName() === "Lead_Status");
  assert.equal(status.getDataType(), "picklist");
  assert.ok(status.getPickListValues().some((v) => v.getActualValue() === "Contacted"));
  assert.ok(fields.some((f) => f.getAPIName() === "Lead_Score" && f.getCustomField()));
});
await check("users", async () => {
  const { UsersOperations, GetUsersParam } = await load(api + "users/users_operations.js");
  const response = await new UsersOperations().getUsers(await parameters([[GetUsersParam.TYPE, "AllUsers"]]));
  const users = response.getObject().getUsers();
  assert.equal(users.length, 6);
  assert.equal(users[0].getFullName(), "Patricia Boyle");
});
await check("org", async () => {
  const { OrgOperations } = await load(api + "org/org_operations.js");
  const response = await new OrgOperations().getOrganization();
  assert.equal(response.getObject().getOrg()[0].getCompanyName(), "Zylker");
});
await check("modules", async () => {
  const { ModulesOperations } = await load(api + "modules/modules_operations.js");
  const response = await new ModulesOperations().getModules();
  assert.ok(response.getObject().getModules().some((m) => m.getAPIName() === "Leads"));
});
console.log(`${checks} checks passed`);
