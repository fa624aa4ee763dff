//! Incidents from a CSV file: the columns host, begin, end and kind, and note if there is one, in any
//! order; times in RFC 3339.

use fettle_history::Incident;
use jiff::Timestamp;

/// Reads the file's text; a complaint names the line.
pub(crate) fn parse(text: &str) -> Result<Vec<Incident>, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let header = lines.next().map(|(_, line)| cells(line)).unwrap_or_default();
    let place = |name: &str| header.iter().position(|cell| cell.trim() == name);
    let needed = |name: &str| {
        place(name).ok_or_else(|| format!("line 1: there is no column {name}; write host,begin,end,kind"))
    };
    let (host, begin, end, kind) = (needed("host")?, needed("begin")?, needed("end")?, needed("kind")?);
    let note = place("note");
    let mut incidents = Vec::new();
    for (number, line) in lines {
        let cells = cells(line);
        let cell = |at: usize| {
            cells.get(at).map(|cell| cell.trim()).ok_or_else(|| {
                format!("line {}: there are {} cells instead of {}", number + 1, cells.len(), header.len())
            })
        };
        let time = |at: usize| -> Result<i64, String> {
            let text = cell(at)?;
            let parsed: Result<Timestamp, _> = text.parse();
            parsed.map(Timestamp::as_microsecond).map_err(|_| {
                format!("line {}: {text:?} is no time; write it like 2026-11-22T08:30:00Z", number + 1)
            })
        };
        let (begin_us, end_us) = (time(begin)?, time(end)?);
        if end_us < begin_us {
            return Err(format!("line {}: it ends before it begins", number + 1));
        }
        incidents.push(Incident {
            host: cell(host)?.to_owned(),
            begin_us,
            end_us,
            kind: cell(kind)?.to_owned(),
            note: note.map(cell).transpose()?.unwrap_or_default().to_owned(),
        });
    }
    Ok(incidents)
}

/// The cells of a line; a cell in quotes may hold commas, and quotes written twice.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                if let Some(cell) = cells.last_mut() {
                    cell.push('"');
                }
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            letter => {
                if let Some(cell) = cells.last_mut() {
                    cell.push(letter);
                }
            }
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incidents_are_read_in_any_order_of_columns() {
        let text = "kind,host,begin,end,note\n\
                    cpu,web-1,2026-11-22T08:00:00Z,2026-11-22T08:10:00Z,\"burn, \"\"hot\"\"\"\n\n\
                    io,web-2,2026-11-22T09:00:00+01:00,2026-11-22T08:00:01Z,\n";
        let got = parse(text).unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].host.as_str(), got[0].note.as_str()), ("web-1", "burn, \"hot\""));
        assert_eq!(got[1].end_us - got[1].begin_us, 1_000_000);
    }

    #[test]
    fn complaints_name_the_line() {
        let head = "host,begin,end,kind\n";
        for (text, words) in [
            ("", "no column host"),
            ("host,begin,kind\n", "no column end"),
            (&format!("{head}a,yesterday,now,cpu\n"), "line 2: \"yesterday\""),
            (&format!("{head}a\n"), "line 2: there are 1 cells"),
            (&format!("{head}a,2026-11-22T08:00:01Z,2026-11-22T08:00:00Z,x\n"), "line 2: it ends before"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
