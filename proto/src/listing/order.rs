//! In which order entries are listed.

use std::cmp::Ordering;

use super::{Error, Key, Kind, MAX_TERMS, Value, column::Column, read::Reader};

/// In which order entries are listed: by the first key, where that is the same by the next.
#[derive(Clone, Debug, Default)]
pub struct Order {
    keys: Vec<(Key, Direction)>,
}

#[derive(Clone, Copy, Debug)]
enum Direction {
    Ascending,
    Descending,
}

impl Order {
    /// Reads an order of these columns, such as `priority desc, create_time`.
    ///
    /// # Errors
    /// What is not understood, and where.
    pub fn parse(text: &str, columns: &'static [Column]) -> Result<Self, Error> {
        let mut reader = Reader::new(text)?;
        let mut keys = vec![];
        while !reader.is_at_end() {
            let position = reader.position();
            if !keys.is_empty() && !reader.takes(",") {
                let found = reader.shown();
                return Err(Error::at(
                    position,
                    format!("a comma, `asc` or `desc` is expected, not {found}"),
                ));
            }
            if keys.len() == MAX_TERMS {
                return Err(Error::at(position, format!("has more than {MAX_TERMS} keys")));
            }
            let position = reader.position();
            let key = reader.key(columns)?;
            if matches!(key.column.kind, Kind::Labels) && key.label.is_empty() {
                return Err(Error::at(position, "name a label, as in `labels.team`"));
            }
            keys.push((key, direction(&mut reader)));
        }
        Ok(Self { keys })
    }

    /// True where entries are listed as they come.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// What an entry is put into its place by.
    pub fn values(&self, value: impl Fn(&Key) -> Value) -> Vec<Value> {
        self.keys.iter().map(|(key, _)| value(key)).collect()
    }

    /// Which of two entries comes first, by their [`Order::values`]. What is absent comes last, whatever the direction.
    pub fn compare(&self, one: &[Value], other: &[Value]) -> Ordering {
        let pairs = self.keys.iter().zip(one.iter().zip(other));
        pairs
            .map(|((_, direction), (one, other))| compare(*direction, one, other))
            .fold(Ordering::Equal, Ordering::then)
    }
}

fn direction(reader: &mut Reader<'_>) -> Direction {
    if reader.takes("desc") {
        return Direction::Descending;
    }
    // It is what is meant where nothing is said.
    reader.takes("asc");
    Direction::Ascending
}

fn compare(direction: Direction, one: &Value, other: &Value) -> Ordering {
    let ascending = match (one, other) {
        (Value::Absent, Value::Absent) => return Ordering::Equal,
        (Value::Absent, _) => return Ordering::Greater,
        (_, Value::Absent) => return Ordering::Less,
        (Value::Number(one), Value::Number(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        (Value::Number(_), Value::Text(_)) => Ordering::Less,
        (Value::Text(_), Value::Number(_)) => Ordering::Greater,
    };
    match direction {
        Direction::Ascending => ascending,
        Direction::Descending => ascending.reverse(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::JOB_COLUMNS, *};

    #[test]
    fn the_next_key_counts_where_the_first_is_the_same() {
        let order = Order::parse("priority desc, labels.team, end_time asc", JOB_COLUMNS).expect("an order");
        let entry = |priority, team: &str, end: Option<i64>| {
            vec![
                Value::Number(priority),
                Value::Text(team.to_owned()),
                end.map_or(Value::Absent, Value::Number),
            ]
        };
        let sorted = [
            entry(5, "b", None),
            entry(1, "a", Some(7)),
            entry(1, "a", Some(9)),
            entry(1, "a", None),
            entry(1, "b", Some(1)),
        ];
        let mut entries = sorted.clone();
        entries.reverse();
        entries.sort_by(|one, other| order.compare(one, other));
        assert_eq!(entries, sorted);
        assert!(Order::parse(" ", JOB_COLUMNS).expect("none").is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("priority down", "at character 10: a comma, `asc` or `desc` is expected, not \"down\""),
            ("priority,", "at character 10: a field is expected, such as `id`, not the end"),
            ("labels", "at character 1: name a label, as in `labels.team`"),
            ("descending", "at character 1: there is no field `descending`"),
        ] {
            let error = Order::parse(text, JOB_COLUMNS).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
