//! Lines that say which node wrote them.

use std::io::{self, Write};

use crate::config::LogFormat;

/// Puts a name into each line as a field of it, on the thread of the log.
pub struct Named<W> {
    out: W,
    format: LogFormat,
    /// None leaves lines as they are.
    name: Option<String>,
    line: Vec<u8>,
}

impl<W> Named<W> {
    pub fn new(out: W, format: LogFormat, name: Option<String>) -> Self {
        Self {
            out,
            format,
            name,
            line: Vec::new(),
        }
    }
}

impl<W: Write> Write for Named<W> {
    /// Given one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let Some(name) = &self.name else {
            self.out.write_all(line)?;
            return Ok(line.len());
        };
        self.line.clear();
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match (self.format, text.strip_prefix(b"{")) {
            (LogFormat::Json, Some(fields)) => {
                write!(self.line, r#"{{"node":"{name}","#)?;
                self.line.extend(fields);
                self.line.push(b'\n');
            }
            // What the program ends with is text in either form.
            _ => {
                self.line.extend(text);
                writeln!(self.line, " node={name}")?;
            }
        }
        self.out.write_all(&self.line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
