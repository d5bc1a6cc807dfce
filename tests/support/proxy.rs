//! A TCP proxy that breaks connections in the ways in which networks break them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is passed on.
    None,
    /// Connections end, and new ones are refused.
    Cut,
    /// Nothing is passed on, and nobody is told.
    Silence,
    /// The first request that contains these bytes is passed on; its answer is not, and its connection ends.
    LoseAnswer(Vec<u8>),
    /// The first request that contains these bytes is not passed on, and its connection ends.
    LoseRequest(Vec<u8>),
}

/// The proxy; ends with this value.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Its port on 127.0.0.1.
    pub(crate) port: u16,
    fault: Arc<Mutex<Fault>>,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    /// Starts a proxy in front of a port on 127.0.0.1.
    pub(crate) fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (fault, ended) = (Arc::new(Mutex::new(Fault::None)), Arc::new(AtomicBool::new(false)));
        let shared = (fault.clone(), ended.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (fault, ended) = shared.clone();
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                if *fault.lock().unwrap() != Fault::Cut {
                    std::thread::spawn(move || serve(&client, target, &fault, &ended));
                }
            }
        });
        Proxy { port, fault, ended }
    }

    /// Sets what happens from now on, also on open connections.
    pub(crate) fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Whether a request was lost as asked; the proxy then passes everything on again.
    pub(crate) fn is_spent(&self) -> bool {
        *self.fault.lock().unwrap() == Fault::None
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(client: &TcpStream, target: u16, fault: &Mutex<Fault>, ended: &AtomicBool) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
    let deaf = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| pass(client, &server, fault, ended, |bytes| judge(bytes, fault, &deaf)));
        scope.spawn(|| {
            pass(&server, client, fault, ended, |_| if deaf.load(Ordering::SeqCst) { Then::End } else { Then::Pass });
        });
    });
}

/// What to do with bytes.
enum Then {
    Pass,
    End,
}

/// Whether a request is passed on; if its answer must be lost, the other direction is told.
fn judge(bytes: &[u8], fault: &Mutex<Fault>, deaf: &AtomicBool) -> Then {
    let mut fault = fault.lock().unwrap();
    let has = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
    match &*fault {
        Fault::LoseAnswer(wanted) if has(wanted) => {
            deaf.store(true, Ordering::SeqCst);
            *fault = Fault::None;
        }
        Fault::LoseRequest(wanted) if has(wanted) => {
            *fault = Fault::None;
            return Then::End;
        }
        Fault::None | Fault::Cut | Fault::Silence | Fault::LoseAnswer(_) | Fault::LoseRequest(_) => {}
    }
    Then::Pass
}

fn pass(from: &TcpStream, to: &TcpStream, fault: &Mutex<Fault>, ended: &AtomicBool, then: impl Fn(&[u8]) -> Then) {
    // So that a change of the fault is noticed.
    drop(from.set_read_timeout(Some(Duration::from_millis(20))));
    let (mut from, mut to) = (from, to);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now = fault.lock().unwrap().clone();
        if now == Fault::Cut || ended.load(Ordering::SeqCst) {
            break;
        }
        if now == Fault::Silence {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if matches!(then(&buffer[..count]), Then::End) || to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}
