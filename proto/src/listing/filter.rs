//! Which entries are listed.

use super::{Error, Key, Kind, MAX_TERMS, Value, column::Column, read::Reader};

/// Which entries are listed: those that every term holds of.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    terms: Vec<Term>,
}

#[derive(Clone, Debug)]
struct Term {
    key: Key,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    /// There is a value.
    Is,
    /// The text is this one, or is not.
    Text { text: String, is_wanted: bool },
    /// The text has this part.
    Contains(String),
    /// The number stands so to those from the first to before the second.
    Number { sign: &'static str, first: i64, end: i64 },
}

impl Filter {
    /// Reads a filter of these columns; an empty one lets everything through.
    ///
    /// # Errors
    /// What is not understood, and where.
    ///
    /// ```
    /// use kindred_proto::listing::{Filter, JOB_COLUMNS};
    /// Filter::parse(r#"state = running AND labels.team = "my team" AND priority > 3"#, JOB_COLUMNS)?;
    /// let error = Filter::parse("name = a AND sate = running", JOB_COLUMNS).unwrap_err();
    /// assert!(error.to_string().starts_with("at character 14: there is no field `sate`: did you mean `state`?"));
    /// # Ok::<_, kindred_proto::listing::Error>(())
    /// ```
    pub fn parse(text: &str, columns: &'static [Column]) -> Result<Self, Error> {
        let mut reader = Reader::new(text)?;
        let mut terms = vec![];
        while !reader.is_at_end() {
            let position = reader.position();
            if !terms.is_empty() && !reader.takes("AND") {
                let found = reader.shown();
                return Err(Error::at(position, format!("`AND` is expected between two terms, not {found}")));
            }
            if terms.len() == MAX_TERMS {
                return Err(Error::at(position, format!("has more than {MAX_TERMS} terms")));
            }
            terms.push(term(&mut reader, columns)?);
        }
        Ok(Self { terms })
    }

    /// True where everything is let through.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether an entry is listed that holds these values.
    pub fn takes(&self, value: impl Fn(&Key) -> Value) -> bool {
        self.terms.iter().all(|term| term.test.holds(&value(&term.key)))
    }
}

fn term(reader: &mut Reader<'_>, columns: &'static [Column]) -> Result<Term, Error> {
    let mut key = reader.key(columns)?;
    let position = reader.position();
    let signs = signs(&key);
    let Some(sign) = reader.sign() else {
        let found = reader.shown();
        return Err(Error::at(position, format!("one of {} is expected, not {found}", signs.join(" "))));
    };
    if !signs.contains(&sign) {
        let (name, signs) = (key.column.shown(), signs.join(" "));
        return Err(Error::at(position, format!("`{sign}` has no meaning for `{name}`: use one of {signs}")));
    }
    let position = reader.position();
    let given = reader.value()?;
    let test = match key.column.kind {
        Kind::Labels if key.label.is_empty() => {
            key.label = given;
            Test::Is
        }
        Kind::Text | Kind::Labels => match sign {
            ":" => Test::Contains(given),
            _ => Test::Text { text: given, is_wanted: sign == "=" },
        },
        _ => {
            let (first, end) = key.column.span(&given).map_err(|wanted| {
                let shown: String = given.chars().take(64).collect();
                Error::at(position, format!("`{}` is {wanted}, not {shown:?}", key.column.name))
            })?;
            Test::Number { sign, first, end }
        }
    };
    Ok(Term { key, test })
}

fn signs(key: &Key) -> &'static [&'static str] {
    match key.column.kind {
        // `labels:team` asks whether there is one.
        Kind::Labels if key.label.is_empty() => &[":"],
        Kind::Text | Kind::Labels => &["=", "!=", ":"],
        Kind::Choice(_) => &["=", "!="],
        Kind::Id(_) | Kind::Number | Kind::Time => &["=", "!=", "<", "<=", ">", ">="],
    }
}

impl Test {
    /// Of what is not there only `!=` holds.
    fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Is, value) => *value != Value::Absent,
            (Self::Text { text, is_wanted }, Value::Text(found)) => (text == found) == *is_wanted,
            (Self::Text { is_wanted, .. }, _) => !is_wanted,
            (Self::Contains(part), Value::Text(found)) => found.contains(part.as_str()),
            (Self::Number { sign, first, end }, Value::Number(found)) => match *sign {
                "<" => found < first,
                "<=" => found < end,
                ">" => found >= end,
                ">=" => found >= first,
                "!=" => !(first..end).contains(&found),
                _ => (first..end).contains(&found),
            },
            (Self::Number { sign, .. }, _) => *sign == "!=",
            (Self::Contains(_), _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{JOB_COLUMNS, millis, quoted},
        *,
    };

    fn entry(key: &Key) -> Value {
        let time = |text: &str| Value::Number(millis(&text.parse().expect("a time")));
        match (key.column.name, key.label.as_str()) {
            ("id", _) => Value::Number(12),
            ("name", _) => Value::Text("sce-cifar".to_owned()),
            ("state", _) => Value::Number(2),
            ("priority", _) => Value::Number(-3),
            ("labels", "team") => Value::Text("a \"b\" \\c".to_owned()),
            ("create_time", _) => time("2026-01-31T08:30:00.500Z"),
            _ => Value::Absent,
        }
    }

    fn takes(text: &str) -> bool {
        Filter::parse(text, JOB_COLUMNS).unwrap_or_else(|error| panic!("{text}: {error}")).takes(entry)
    }

    #[test]
    fn all_terms_must_hold() {
        let label = format!("labels.team = {}", quoted("a \"b\" \\c"));
        for text in [
            "",
            "  ",
            "id = job-12",
            "id>job-9 AND id <= job-12",
            "name:cifar AND name != sce",
            "state = RUNNING",
            "priority < 0 AND priority >= -3",
            &label,
            "labels:team",
            "labels.\"team\":b",
            "labels.other != x",
            "create_time = 2026-01-31",
            "create_time >= 2026-01-31 AND create_time < 2026-02-01",
            "create_time > 2026-01-31T08:30:00Z",
            "create_time <= \"2026-01-31T09:30:00.500+01:00\"",
            "end_time != 2026-01-31",
        ] {
            assert!(takes(text), "{text}");
        }
        for text in [
            "id = job-1",
            "name = sce",
            "state != running",
            "priority > -3",
            "labels.other = x",
            "labels:other",
            "create_time > 2026-01-31",
            "create_time != 2026-01-31",
            "end_time < 2026-01-31",
            "method:s",
            "name:cifar AND name = sce",
        ] {
            assert!(!takes(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("state", "at character 6: one of = != is expected, not the end"),
            ("= 3", "at character 1: a field is expected, such as `id`, not \"=\""),
            (
                "ünk = 3",
                "at character 1: there is no field `ünk`: There are id, name, state, project, queue, priority, device, labels.KEY, create_time, start_time, end_time, ranks, method",
            ),
            ("name < a", "at character 6: `<` has no meaning for `name`: use one of = != :"),
            ("labels = a", "at character 8: `=` has no meaning for `labels.KEY`: use one of :"),
            ("name.x = a", "at character 5: `name` has no fields of its own"),
            ("priority = high", "at character 12: `priority` is a whole number, not \"high\""),
            ("id = 7", "at character 6: `id` is an id such as job-7, not \"7\""),
            ("device = gpu", "at character 10: `device` is one of cpu, cuda, not \"gpu\""),
            ("name = \"ä\" OR name = b", "at character 12: `AND` is expected between two terms, not \"OR\""),
            ("name = a AND", "at character 13: a field is expected, such as `id`, not the end"),
            ("name = \"a", "at character 8: the quotes are not closed"),
            ("name =", "at character 7: a value is expected, not the end"),
            (
                "end_time > now",
                "at character 12: `end_time` is a day or a time such as 2026-01-31 or 2026-01-31T08:30:00Z, not \"now\"",
            ),
        ] {
            let error = Filter::parse(text, JOB_COLUMNS).expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
        let many = vec!["id = job-1"; MAX_TERMS + 1].join(" AND ");
        Filter::parse(&many, JOB_COLUMNS).expect_err("too many");
        Filter::parse(&"x".repeat(5000), JOB_COLUMNS).expect_err("too long");
    }

    proptest::proptest! {
        #[test]
        fn no_text_ends_in_a_panic(text in "[ -~ä\"\\\\]{0,60}", value in "[0-9TZ:.+-]{0,30}") {
            let _ = Filter::parse(&text, JOB_COLUMNS);
            let _ = Filter::parse(&format!("create_time > {value}"), JOB_COLUMNS);
        }

        #[test]
        fn what_is_quoted_is_read_back(text in "\\PC{0,40}") {
            let filter = Filter::parse(&format!("name = {}", quoted(&text)), JOB_COLUMNS);
            let filter = filter.expect("it is quoted");
            proptest::prop_assert!(filter.takes(|_| Value::Text(text.clone())));
        }
    }
}
