"""The common verbs of python-consul and py-consul, which are both the module `consul`.

Called with host and port of a server. Ends with 1 at the first thing that is not as it should be.
"""

import sys
import threading
import time

import consul


def until(what, look, limit=20):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {limit} s: {what}")


def keys(c):
    assert c.kv.delete("py/", recurse=True)
    assert c.kv.put("py/a", "one", flags=42)
    index, entry = c.kv.get("py/a")
    assert entry["Value"] == b"one" and entry["Flags"] == 42 and int(index) > 0, entry
    assert c.kv.put("py/a", "two", cas=entry["ModifyIndex"])
    assert not c.kv.put("py/a", "three", cas=entry["ModifyIndex"])
    assert c.kv.put("py/b/c", b"\x00\xff")
    _, tree = c.kv.get("py/", recurse=True)
    assert [e["Key"] for e in tree] == ["py/a", "py/b/c"] and tree[1]["Value"] == b"\x00\xff"
    _, names = c.kv.get("py/", keys=True, separator="/")
    assert names == ["py/a", "py/b/"], names
    assert c.kv.put("py/empty", None)
    assert c.kv.get("py/empty")[1]["Value"] is None
    assert c.kv.get("py/none")[1] is None
    assert c.kv.delete("py/b", recurse=True)
    assert c.kv.get("py/b/c")[1] is None


def waits(c, other):
    c.kv.put("py/watched", "1")
    index, _ = c.kv.get("py/watched")
    woken = []
    waiter = threading.Thread(target=lambda: woken.append(other.kv.get("py/watched", index=index, wait="20s")))
    waiter.start()
    time.sleep(0.2)
    c.kv.put("py/elsewhere", "x")
    assert not woken
    c.kv.put("py/watched", "2")
    waiter.join(20)
    assert woken and woken[0][1]["Value"] == b"2" and int(woken[0][0]) > int(index), woken


def locks(c):
    one = c.session.create("one", ttl=10, behavior="delete", lock_delay=0)
    two = c.session.create("two", ttl=10, lock_delay=0)
    assert c.kv.put("py/lock", "1", acquire=one)
    assert not c.kv.put("py/lock", "2", acquire=two)
    assert c.kv.get("py/lock")[1]["Session"] == one
    assert c.session.renew(one)["ID"] == one
    assert {s["ID"] for s in c.session.list()[1]} >= {one, two}
    assert c.session.info(one)[1]["Name"] == "one"
    assert c.session.node(c.session.info(one)[1]["Node"])[1]
    assert c.session.destroy(one)
    until("the key of an ended session is gone", lambda: c.kv.get("py/lock")[1] is None)
    assert c.kv.put("py/lock", "2", acquire=two)
    assert c.kv.put("py/lock", "2", release=two)
    try:
        c.session.renew(one)
        raise AssertionError("an ended session was renewed")
    except consul.NotFound:
        pass
    c.session.destroy(two)


def services(c):
    check = consul.Check.ttl("30s")
    assert c.agent.service.register("pyweb", "pyweb-1", address="10.3.0.1", port=8001, tags=["a", "b"], check=check)
    until("the service is in the catalog", lambda: c.catalog.service("pyweb")[1])
    assert c.health.service("pyweb", passing=True)[1] == []
    assert c.agent.check.ttl_pass("service:pyweb-1", "fit")
    found = until("it passes", lambda: c.health.service("pyweb", passing=True)[1])
    assert found[0]["Service"]["Port"] == 8001 and found[0]["Service"]["Tags"] == ["a", "b"], found
    assert c.health.service("pyweb", tag="b")[1] and not c.health.service("pyweb", tag="zz")[1]
    assert c.agent.check.ttl_warn("service:pyweb-1")
    until("it warns", lambda: [k for k in c.health.checks("pyweb")[1] if k["Status"] == "warning"])
    assert c.agent.check.ttl_fail("service:pyweb-1")
    until("it fails", lambda: [k for k in c.health.state("critical")[1] if k["ServiceID"] == "pyweb-1"])
    assert "pyweb-1" in c.agent.services() and "service:pyweb-1" in c.agent.checks()
    assert c.agent.service.maintenance("pyweb-1", True, "painting")
    assert any(k.startswith("_service_maintenance") for k in c.agent.checks())
    assert c.agent.service.maintenance("pyweb-1", False)
    assert c.agent.check.register("pycheck", check=consul.Check.ttl("30s"), notes="n")
    assert c.agent.check.deregister("pycheck")
    assert c.agent.service.deregister("pyweb-1")
    until("the service is gone", lambda: not c.catalog.service("pyweb")[1])


def catalog(c):
    name = c.agent.self()["Config"]["NodeName"]
    assert c.catalog.register("pynode", "10.3.0.9", service={"Service": "pydb", "ID": "pydb", "Port": 5432, "Tags": ["x"]})
    assert c.catalog.datacenters() == ["dc1"]
    assert {n["Node"] for n in c.catalog.nodes()[1]} >= {name, "pynode"}
    assert c.catalog.services()[1]["pydb"] == ["x"]
    assert c.catalog.service("pydb")[1][0]["ServicePort"] == 5432
    assert "pydb" in c.catalog.node("pynode")[1]["Services"]
    assert c.health.node(name)[1][0]["CheckID"] == "serfHealth"
    assert c.catalog.deregister("pynode")
    until("the node is gone", lambda: c.catalog.node("pynode")[1] is None)


def rest(c):
    assert c.status.leader() and len(c.status.peers()) == 3, c.status.peers()
    assert len(c.agent.members()) == 3
    event = c.event.fire("pydeploy", "payload")
    assert event["Name"] == "pydeploy"
    until("the event is seen", lambda: [e for e in c.event.list("pydeploy")[1] if e["Payload"] == b"payload"])
    out = c.txn.put([{"KV": {"Verb": "set", "Key": "py/txn", "Value": "dg=="}}, {"KV": {"Verb": "get", "Key": "py/txn"}}])
    assert [r["KV"]["Key"] for r in out["Results"]] == ["py/txn", "py/txn"], out
    c.catalog.register("pynode", "10.3.0.9", service={"Service": "pyq", "ID": "pyq", "Port": 1})
    query = c.query.create("pyq", name="py-query", onlypassing=True, ttl="5s")["ID"]
    assert [q["ID"] for q in c.query.list() if q["Name"] == "py-query"] == [query]
    assert c.query.get(query)[0]["DNS"]["TTL"] == "5s"
    assert [n["Service"]["Port"] for n in c.query.execute("py-query")["Nodes"]] == [1]
    assert c.query.delete(query)
    c.catalog.deregister("pynode")
    assert c.coordinate.datacenters()[0]["Datacenter"] == "dc1"
    assert isinstance(c.coordinate.nodes()[1], (list, type(None)))
    assert len(c.operator.raft_config()["Servers"]) == 3


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    clients = [consul.Consul(host=host, port=port, consistency=mode) for mode in ("default", "consistent")]
    for c in clients:
        keys(c)
        waits(c, clients[0])
        locks(c)
        services(c)
        catalog(c)
        rest(c)
    print("all as it should be")


main()
