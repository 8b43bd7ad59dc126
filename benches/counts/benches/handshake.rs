//! Instructions of a whole negotiation, from accept to the reply, through the
//! stages as they are: no socket, no runtime's scheduler, no system call.

use counts::{Client, Memory, Works, accepted, negotiated};
use gungraun::prelude::*;
use socks_tower::Accepted;
use tokio::runtime::{Builder, Runtime};

/// A stack that has served one client: what is done once is done.
struct Ready {
    runtime: Runtime,
    serve: Box<dyn FnMut(Accepted<Memory>)>,
    accepted: Accepted<Memory>,
}

fn ready(client: Client, works: Works) -> Ready {
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime");
    let mut stack = negotiated(client, works);
    let mut serve: Box<dyn FnMut(Accepted<Memory>)> = Box::new(move |accepted| {
        std::hint::black_box(stack(accepted));
    });
    let entered = runtime.enter();
    serve(accepted(client));
    let accepted = accepted(client);
    drop(entered);
    Ready {
        runtime,
        serve,
        accepted,
    }
}

#[library_benchmark]
#[bench::socks5(args = (Client::Open, Works::Bare), setup = ready)]
#[bench::socks5_name(args = (Client::Name, Works::Bare), setup = ready)]
#[bench::socks5_password(args = (Client::Password, Works::Bare), setup = ready)]
#[bench::socks4(args = (Client::Socks4, Works::Bare), setup = ready)]
#[bench::socks5_usual(args = (Client::Open, Works::Usual), setup = ready)]
#[bench::socks5_password_usual(args = (Client::Password, Works::Usual), setup = ready)]
#[bench::socks4_usual(args = (Client::Socks4, Works::Usual), setup = ready)]
fn negotiation(ready: Ready) -> (Runtime, Box<dyn FnMut(Accepted<Memory>)>) {
    let Ready {
        runtime,
        mut serve,
        accepted,
    } = ready;
    let entered = runtime.enter();
    serve(accepted);
    drop(entered);
    (runtime, serve)
}

library_benchmark_group!(name = handshake, benchmarks = [negotiation]);

main!(library_benchmark_groups = handshake);
