//! Columns that line up.

use owo_colors::OwoColorize;

use super::{Tone, printable};

/// Rows under a heading; cells are made printable here.
pub(super) struct Table {
    indent: usize,
    rows: Vec<Vec<Cell>>,
}

/// One cell.
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn toned(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: printable(text.as_ref()), tone }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Plain)
    }
}

impl Table {
    pub(super) fn new(indent: usize, columns: &[&str]) -> Self {
        Self { indent, rows: vec![columns.iter().map(Cell::from).collect()] }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table; where `width` is known, the last column is cut so that lines do not wrap. Ids stand in earlier columns:
    /// people copy them.
    pub(super) fn render(&self, width: Option<usize>) -> String {
        let columns = self.rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| length(&cell.text)).max().unwrap_or(0))
            .collect();
        let before_last: usize = self.indent + widths.iter().rev().skip(1).map(|width| width + GAP).sum::<usize>();
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(before_last).max(LAST_MIN));
        let mut text = String::new();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = " ".repeat(self.indent);
            for (column, cell) in row.iter().enumerate() {
                let last = column + 1 == columns;
                let shown = if last { cut(&cell.text, room) } else { cell.text.clone() };
                let padding = if last { 0 } else { widths[column] + GAP - length(&shown) };
                line.push_str(&if number == 0 { shown.dimmed().to_string() } else { cell.tone.paint(&shown) });
                line.push_str(&" ".repeat(padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, room: usize) -> String {
    if length(text) <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(1)).chain(['…']).collect()
}

const GAP: usize = 2;
/// A column narrower than this says nothing; the terminal may wrap it.
const LAST_MIN: usize = 20;
