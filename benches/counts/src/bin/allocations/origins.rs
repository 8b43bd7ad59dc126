//! Reads dhat's profile, and says for each place how much is allocated there.

use anyhow::{Context, Result};
use serde_json::Value;

/// One place in the program.
struct Place {
    /// Allocations of each tunnel, in all and at the end.
    blocks: f64,
    live: f64,
    bytes: f64,
    live_bytes: f64,
    frames: Vec<String>,
}

/// Prints what `tunnels` tunnels allocated, by place, largest first.
pub(crate) fn print(profile: &str, tunnels: u32) -> Result<()> {
    let profile: Value = serde_json::from_str(profile)?;
    let list = |key: &str| profile[key].as_array().context("a profile of dhat's");
    let frames = list("ftbl")?;
    let mut places = Vec::new();
    for point in list("pps")? {
        let each = |key: &str| point[key].as_f64().unwrap_or_default() / f64::from(tunnels);
        let at = point["fs"].as_array().context("frames")?;
        let at = at.iter().filter_map(Value::as_u64);
        let at = at.filter_map(|at| frames.get(usize::try_from(at).ok()?)?.as_str());
        places.push(Place {
            blocks: each("tbk"),
            live: each("ebk"),
            bytes: each("tb"),
            live_bytes: each("eb"),
            frames: at.filter(|frame| tells(frame)).map(short).collect(),
        });
    }
    // What is allocated less often than by every second tunnel is shared.
    places.retain(|place| place.blocks >= 0.5);
    places.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    println!("| allocations | bytes | live bytes | where |\n|---:|---:|---:|---|");
    for place in &places {
        let at: Vec<_> = place.frames.iter().take(6).map(String::as_str).collect();
        println!(
            "| {:.2} | {:.0} | {:.0} | {} |",
            place.blocks,
            place.bytes,
            place.live_bytes,
            at.join(" < ")
        );
    }
    let sum = |value: fn(&Place) -> f64| places.iter().map(value).sum::<f64>();
    println!(
        "| {:.2} | {:.0} | {:.0} | in all; {:.2} of them live |",
        sum(|place| place.blocks),
        sum(|place| place.bytes),
        sum(|place| place.live_bytes),
        sum(|place| place.live),
    );
    Ok(())
}

/// Whether a frame is ours or tokio's, and not the way down to the allocator.
fn tells(frame: &str) -> bool {
    let frame = frame.split_once(": ").map_or(frame, |(_, frame)| frame);
    let frame = frame.trim_start_matches(['<', '&', '*']);
    !["alloc::", "core::", "std::", "dhat::", "__rust", "[root]"]
        .iter()
        .any(|below| frame.starts_with(below))
}

/// A frame as `function` and where that is: the last folder, file and line.
fn short(frame: &str) -> String {
    let frame = frame.split_once(": ").map_or(frame, |(_, frame)| frame);
    let (function, place) = frame.rsplit_once(" (").unwrap_or((frame, ""));
    let mut parts: Vec<_> = place.trim_end_matches(')').rsplit('/').take(2).collect();
    parts.reverse();
    let place = parts.join("/");
    let place: Vec<_> = place.split(':').take(2).collect();
    // What it is generic over is long and says little.
    let mut plain = String::new();
    let mut depth = 0_u32;
    for letter in function.chars() {
        match letter {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(letter),
            _ => {}
        }
    }
    let names = plain.rsplit("::").filter(|name| !name.starts_with('{'));
    let name = names
        .filter(|name| !name.is_empty())
        .take(1)
        .collect::<String>();
    format!("`{name}` {}", place.join(":"))
}
