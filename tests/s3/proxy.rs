//! A network that fails between a client and the server: one request a connection, and every so many of them a fault.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It is answered with 503 and goes no further.
    Busy,
    /// It is done, and answered with 503 all the same.
    BusyAfter,
    /// Half of it arrives.
    CutRequest,
    /// It is done, and half of the answer arrives.
    CutAnswer,
    /// It is taken in, and nothing comes of it.
    Stall,
    /// It is done, and nothing is said about it.
    StallAfter,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Busy, Self::BusyAfter, Self::CutRequest, Self::CutAnswer, Self::Stall, Self::StallAfter];
}

/// The network. It goes on as long as the test's process does.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    /// Of so many requests one meets a fault.
    every: u64,
    n_requests: AtomicU64,
    faults: Mutex<Vec<(Fault, String)>>,
}

impl Proxy {
    /// Starts it before a server. Of all requests one in `every` meets a fault, each kind in turn.
    pub fn start(server: SocketAddr, every: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (n_requests, faults) = (AtomicU64::new(0), Mutex::default());
        let state = Arc::new(State { server, every, n_requests, faults });
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = shared.clone();
                // What goes wrong here is one more fault of the network.
                thread::spawn(move || state.pass(&stream).ok());
            }
        });
        Ok(Self { address, state })
    }

    /// What a client is given as the server's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The faults so far, each with the first line of its request.
    pub fn faults(&self) -> Vec<(Fault, String)> {
        self.state.faults.lock().expect("nothing panics while it holds this lock").clone()
    }
}

impl State {
    /// Passes one request and its answer on, or not.
    fn pass(&self, mut client: &TcpStream) -> io::Result<()> {
        let request = Request::read(client)?;
        let fault = self.fault(&request.line);
        match fault {
            Some(Fault::Busy) => return client.write_all(BUSY),
            Some(Fault::Stall) => return hold(client),
            _ => {}
        }
        let mut server = TcpStream::connect(self.server)?;
        server.write_all(request.head.as_bytes())?;
        if fault == Some(Fault::CutRequest) {
            server.write_all(&request.body[..request.body.len() / 2])?;
            return server.shutdown(Shutdown::Both);
        }
        server.write_all(&request.body)?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer)?;
        match fault {
            Some(Fault::BusyAfter) => client.write_all(BUSY),
            Some(Fault::StallAfter) => hold(client),
            Some(Fault::CutAnswer) => client.write_all(&answer[..answer.len() / 2]),
            _ => client.write_all(&answer),
        }
    }

    fn fault(&self, line: &str) -> Option<Fault> {
        let number = self.n_requests.fetch_add(1, Ordering::SeqCst) + 1;
        if !number.is_multiple_of(self.every) {
            return None;
        }
        let mut faults = self.faults.lock().expect("nothing panics while it holds this lock");
        let fault = Fault::ALL[faults.len() % Fault::ALL.len()];
        faults.push((fault, line.trim().to_owned()));
        Some(fault)
    }
}

const BUSY: &[u8] = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Says nothing until the client goes.
fn hold(mut client: &TcpStream) -> io::Result<()> {
    io::copy(&mut client, &mut io::sink()).map(drop)
}

/// One request of a connection; the server is told that there are no more.
struct Request {
    line: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn read(client: &TcpStream) -> io::Result<Self> {
        let mut reader = BufReader::new(client);
        let (mut line, mut head, mut size) = (String::new(), String::new(), 0);
        reader.read_line(&mut line)?;
        head += &line;
        loop {
            let mut field = String::new();
            if reader.read_line(&mut field)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if field.trim().is_empty() {
                break;
            }
            let (name, value) = field.split_once(':').unwrap_or((&field, ""));
            if name.eq_ignore_ascii_case("content-length") {
                size = value.trim().parse().map_err(io::Error::other)?;
            }
            if !name.eq_ignore_ascii_case("connection") {
                head += &field;
            }
        }
        head += "Connection: close\r\n\r\n";
        let mut body = vec![0; size];
        reader.read_exact(&mut body)?;
        Ok(Self { line, head, body })
    }
}
