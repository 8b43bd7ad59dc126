//! What a round trip costs while many tunnels are open.

use anyhow::Result;

use crate::{
    idle,
    memory::held,
    origin::Origin,
    pingpong::{Game, tunnels},
    proxy::Proxy,
    window::{Extent, Figures, Window},
};

const IN_PLAY: usize = 10;

/// Opens `count` tunnels, or as many as the limit of descriptors permits. Plays
/// on ten more of them, then on all by turns.
pub(crate) fn growth(
    proxy: &Proxy,
    origin: &Origin,
    count: usize,
    extent: Extent,
) -> Result<Figures> {
    let count = idle::count(count);
    idle::warm(proxy, origin)?;
    let before = held(proxy).pss;
    let open = idle::open(proxy, origin, count)?;
    let mut few = Game::new(tunnels(proxy, origin, IN_PLAY)?)?;
    let of_few = few.play(Window::new(proxy, extent), IN_PLAY)?;
    drop(few);
    let after = held(proxy).pss;
    let of_all = Game::new(open)?.play(Window::new(proxy, extent), IN_PLAY)?;
    Ok(Figures::from([
        ("tunnels", count as f64),
        ("bytes/tunnel", (after - before) / count as f64),
        ("CPU µs/round trip", of_few.cpu * 1e6 / of_few.units),
        (
            "CPU µs/round trip, by turns",
            of_all.cpu * 1e6 / of_all.units,
        ),
    ]))
}
