//! `GET /v1/agent/host`: the machine. Source: Consul HTTP API, "Retrieve Host Information".

use serde_json::{Value, json};

use crate::telemetry::{self, Cpu, Disk, Host, Memory};
use crate::time;

use super::call::{Call, Outcome};
use super::error::Failure;

/// `GET /v1/agent/host`.
pub(super) async fn host(call: Call) -> Outcome {
    let data = call.options.data_dir.clone();
    // Files of `/proc` do not wait for anything, but a disk that hangs would hold up others.
    let read = tokio::task::spawn_blocking(move || telemetry::host(&data));
    let host = read.await.map_err(|why| Failure::internal(format!("host: {why}")))?;
    let errors = (!host.errors.is_empty()).then_some(&host.errors);
    let shown = json!({
        "Memory": memory(&host.memory),
        "CPU": host.cpus.iter().map(cpu).collect::<Vec<_>>(),
        "Host": machine(&host),
        "Disk": disk(host.disk),
        "CollectionTime": time::wall_millis().saturating_mul(1_000_000),
        "Errors": errors,
    });
    Ok(call.json(&shown))
}

fn memory(memory: &Memory) -> Value {
    let row = |name: &str| memory.row(name);
    let (total, available) = (row("MemTotal"), row("MemAvailable"));
    let cached = row("Cached") + row("SReclaimable");
    let used = total.saturating_sub(row("MemFree") + row("Buffers") + cached);
    json!({
        "total": total,
        "available": available,
        "used": used,
        "usedPercent": percent(used, total),
        "free": row("MemFree"),
        "active": row("Active"),
        "inactive": row("Inactive"),
        "wired": 0,
        "laundry": 0,
        "buffers": row("Buffers"),
        "cached": cached,
        "writeback": row("Writeback"),
        "dirty": row("Dirty"),
        "writebacktmp": row("WritebackTmp"),
        "shared": row("Shmem"),
        "slab": row("Slab"),
        "sreclaimable": row("SReclaimable"),
        "sunreclaim": row("SUnreclaim"),
        "pagetables": row("PageTables"),
        "swapcached": row("SwapCached"),
        "commitlimit": row("CommitLimit"),
        "committedas": row("Committed_AS"),
        "hightotal": row("HighTotal"),
        "highfree": row("HighFree"),
        "lowtotal": row("LowTotal"),
        "lowfree": row("LowFree"),
        "swaptotal": row("SwapTotal"),
        "swapfree": row("SwapFree"),
        "mapped": row("Mapped"),
        "vmalloctotal": row("VmallocTotal"),
        "vmallocused": row("VmallocUsed"),
        "vmallocchunk": row("VmallocChunk"),
        "hugepagestotal": row("HugePages_Total"),
        "hugepagesfree": row("HugePages_Free"),
        "hugepagesize": row("Hugepagesize"),
    })
}

fn cpu(cpu: &Cpu) -> Value {
    let number = |name: &str| {
        let first = cpu.row(name).split(' ').next().unwrap_or_default();
        first.parse::<u64>().unwrap_or_default()
    };
    json!({
        "cpu": number("processor"),
        "vendorId": cpu.row("vendor_id"),
        "family": cpu.row("cpu family"),
        "model": cpu.row("model"),
        "stepping": number("stepping"),
        "physicalId": cpu.row("physical id"),
        "coreId": cpu.row("core id"),
        "cores": 1,
        "modelName": cpu.row("model name"),
        "mhz": cpu.row("cpu MHz").parse::<f64>().unwrap_or_default(),
        "cacheSize": number("cache size"),
        "flags": cpu.row("flags").split_ascii_whitespace().collect::<Vec<_>>(),
        "microcode": cpu.row("microcode"),
    })
}

fn machine(host: &Host) -> Value {
    let family =
        if host.platform_family.is_empty() { &host.platform } else { &host.platform_family };
    json!({
        "hostname": host.name,
        "uptime": host.uptime,
        "bootTime": host.boot_time,
        "procs": host.processes,
        "os": std::env::consts::OS,
        "platform": host.platform,
        "platformFamily": family,
        "platformVersion": host.platform_version,
        "kernelVersion": host.kernel,
        "kernelArch": std::env::consts::ARCH,
        "virtualizationSystem": "",
        "virtualizationRole": "",
        "hostid": host.id,
    })
}

fn disk(disk: Disk) -> Value {
    let inodes_used = disk.inodes.saturating_sub(disk.inodes_free);
    json!({
        "path": "/",
        "fstype": "",
        "total": disk.total,
        "free": disk.available,
        "used": disk.used,
        "usedPercent": percent(disk.used, disk.used + disk.available),
        "inodesTotal": disk.inodes,
        "inodesUsed": inodes_used,
        "inodesFree": disk.inodes_free,
        "inodesUsedPercent": percent(inodes_used, disk.inodes),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a share for display")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_a_hundred() {
        assert!((percent(1, 4) - 25.0).abs() < f64::EPSILON);
        assert!(percent(1, 0).abs() < f64::EPSILON);
    }
}
