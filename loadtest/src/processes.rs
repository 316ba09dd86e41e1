//! CPU time and memory of processes and their children, from /proc.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::Context;

/// A process tree to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// For people: `server`, `postgres`, …
    pub name: String,
    /// Its root.
    pub pid: u32,
}

impl std::str::FromStr for Watched {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, pid) = text.split_once('=').ok_or("must be NAME=PID, for example postgres=4711")?;
        let pid = pid.parse().map_err(|_| format!("{pid:?} is no process id"))?;
        Ok(Self { name: name.to_owned(), pid })
    }
}

/// What a process tree has used by a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system CPU time of the living processes and of the children they have waited for.
    pub cpu: Duration,
    /// Resident memory, bytes.
    pub resident: u64,
}

/// Linux counts CPU time for /proc in hundredths of a second on every architecture.
const TICK: Duration = Duration::from_millis(10);

struct Stat {
    parent: u32,
    ticks: u64,
    resident: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets too.
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = field(14)? + field(15)? + field(16)? + field(17)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0);
    Some(Stat { parent: u32::try_from(field(4)?).ok()?, ticks, resident: kib * 1024 })
}

/// What a process and all below it have used.
pub fn usage(root: u32) -> Usage {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let all: HashMap<u32, Stat> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let is_below = |pid: u32| {
        let mut at = pid;
        while at != root {
            match all.get(&at) {
                Some(stat) if stat.parent != 0 => at = stat.parent,
                _ => return false,
            }
        }
        true
    };
    all.iter().filter(|(pid, _)| is_below(**pid)).fold(Usage::default(), |sum, (_, stat)| Usage {
        cpu: sum.cpu + TICK * u32::try_from(stat.ticks).unwrap_or(u32::MAX),
        resident: sum.resident + stat.resident,
    })
}

/// What this process itself has used.
pub fn own_usage() -> Usage {
    let stat = stat(std::process::id());
    stat.map_or_else(Usage::default, |stat| Usage {
        cpu: TICK * u32::try_from(stat.ticks).unwrap_or(u32::MAX),
        resident: stat.resident,
    })
}

/// The share of the machine's time that its hypervisor gave to others since `before`.
pub struct Steal {
    stolen: u64,
    all: u64,
}

impl Steal {
    /// The counts by now.
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
        Self { stolen: ticks.get(7).copied().unwrap_or(0), all: ticks.iter().take(8).sum() }
    }

    /// Per cent since then.
    pub fn percent_since(&self, before: &Self) -> f64 {
        100.0 * self.stolen.saturating_sub(before.stolen) as f64 / self.all.saturating_sub(before.all).max(1) as f64
    }
}

/// The machine, in a line.
pub fn machine() -> anyhow::Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").context("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let gib = kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0).div_ceil(1 << 20);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(format!("{cores} × {model}, {gib} GiB, Linux {}", kernel.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_below_its_parent() {
        let own = own_usage();
        assert!(own.resident > 0);
        assert!(usage(std::os::unix::process::parent_id()).resident >= own.resident / 2);
        assert_eq!(usage(u32::MAX), Usage::default());
    }

    #[test]
    fn a_watched_process_is_a_name_and_a_number() {
        assert_eq!("db=17".parse(), Ok(Watched { name: "db".into(), pid: 17 }));
        assert!("db".parse::<Watched>().is_err() && "db=x".parse::<Watched>().is_err());
    }
}
