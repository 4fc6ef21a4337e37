// The common verbs of the npm package `consul`. Called with host and port of a server; ends with 1
// at the first thing that is not as it should be.

const assert = require("node:assert/strict");
const Consul = require("consul");

const [host, port] = process.argv.slice(2);
const open = (defaults) => new (Consul.Consul ?? Consul)({ host, port: Number(port), defaults });

async function until(what, look) {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    const found = await look();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.fail(`not within 20 s: ${what}`);
}

async function keys(c) {
  await c.kv.del({ key: "js/", recurse: true });
  assert.equal(await c.kv.set({ key: "js/a", value: "one", flags: 42 }), true);
  const entry = await c.kv.get("js/a");
  assert.deepEqual([entry.Value, entry.Flags], ["one", 42]);
  assert.equal(await c.kv.set({ key: "js/a", value: "two", cas: entry.ModifyIndex }), true);
  assert.ok(!(await c.kv.set({ key: "js/a", value: "no", cas: entry.ModifyIndex })));
  await c.kv.set("js/b/c", Buffer.from([0, 255]));
  assert.deepEqual(await c.kv.keys({ key: "js/", separator: "/" }), ["js/a", "js/b/"]);
  const tree = await c.kv.get({ key: "js/", recurse: true, buffer: true });
  assert.deepEqual(tree[1].Value, Buffer.from([0, 255]));
  await c.kv.del({ key: "js/", recurse: true });
  assert.equal(await c.kv.get("js/a"), undefined);
}

async function sessions(c) {
  const { ID } = await c.session.create({ name: "js", ttl: "10s", lockdelay: "0s", behavior: "delete" });
  assert.equal(await c.kv.set({ key: "js/lock", value: "1", acquire: ID }), true);
  assert.equal([].concat(await c.session.get(ID)).pop().Name, "js");
  assert.equal([].concat(await c.session.renew(ID)).pop().ID, ID);
  assert.ok((await c.session.list()).some((session) => session.ID === ID));
  await c.session.destroy(ID);
  await until("the lock is gone", async () => (await c.kv.get("js/lock")) === undefined);
}

async function services(c) {
  const check = { ttl: "30s", notes: "n" };
  await c.agent.service.register({ name: "jsweb", id: "jsweb-1", address: "10.4.0.1", port: 8001, tags: ["a"], check });
  await c.agent.check.pass("service:jsweb-1");
  const passing = () => c.health.service({ service: "jsweb", passing: true });
  const found = await until("it passes", async () => (await passing())[0]);
  assert.deepEqual([found.Service.Port, found.Service.Tags], [8001, ["a"]]);
  await c.agent.check.warn("service:jsweb-1");
  await until("it warns", async () => (await c.health.checks("jsweb"))[0].Status === "warning");
  await c.agent.check.fail("service:jsweb-1");
  await until("it fails", async () => (await c.health.state("critical")).some((k) => k.ServiceID === "jsweb-1"));
  assert.ok((await c.agent.services())["jsweb-1"] && (await c.agent.checks())["service:jsweb-1"]);
  await c.agent.service.maintenance({ id: "jsweb-1", enable: true });
  await c.agent.service.maintenance({ id: "jsweb-1", enable: false });
  await c.agent.service.deregister("jsweb-1");
  await until("it is gone", async () => (await c.catalog.service.nodes("jsweb")).length === 0);
}

async function catalog(c) {
  await c.catalog.register({ node: "jsnode", address: "10.4.0.9", service: { service: "jsdb", port: 5432 } });
  assert.deepEqual(await c.catalog.datacenters(), ["dc1"]);
  assert.ok((await c.catalog.node.list()).some((node) => node.Node === "jsnode"));
  assert.ok("jsdb" in (await c.catalog.service.list()));
  assert.equal((await c.catalog.service.nodes("jsdb"))[0].ServicePort, 5432);
  assert.ok("jsdb" in (await c.catalog.node.services("jsnode")).Services);
  await c.catalog.deregister("jsnode");
}

// The package's own watcher: a loop of blocking reads.
async function watches(c) {
  const seen = [];
  await c.kv.set("js/watched", "1");
  const watch = c.watch({ method: c.kv.get, options: { key: "js/watched", wait: "20s" }, backoffFactor: 100 });
  watch.on("change", (entry) => seen.push(entry.Value));
  watch.on("error", (error) => assert.fail(error));
  await until("the first value", () => seen.length === 1);
  await c.kv.set("js/watched", "2");
  await until("the second value", () => seen.length === 2);
  watch.end();
  assert.deepEqual(seen, ["1", "2"]);
}

async function rest(c) {
  assert.equal((await c.status.peers()).length, 3);
  assert.ok(await c.status.leader());
  assert.equal((await c.agent.members()).length, 3);
  assert.ok((await c.agent.self()).Config.NodeName);
  assert.equal((await c.event.fire("jsdeploy", "payload")).Name, "jsdeploy");
  await until("the event", async () => (await c.event.list("jsdeploy")).some((event) => event.Payload === "payload"));
  const done = await c.transaction.create([{ KV: { Verb: "set", Key: "js/txn", Value: "dg==" } }]);
  assert.equal(done.Results[0].KV.Key, "js/txn");
  const { ID } = await c.query.create({ name: "js-query", service: { service: "consul" } });
  assert.equal((await c.query.execute(ID)).Nodes.length, 3);
  assert.ok((await c.query.list()).some((query) => query.ID === ID));
  await c.query.destroy(ID);
}

async function main() {
  for (const defaults of [{}, { consistent: true }]) {
    const c = open(defaults);
    for (const part of [keys, sessions, services, catalog, watches, rest]) await part(c);
  }
  console.log("all as it should be");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
