//! Statements about many rows, and writes that wait for each other.
//!
//! Every statement alone is a trip to the connection's thread and back, two threads woken for it; several in one text are
//! one trip. A write that needs no answer waits in the [`Script`] for the next read, or the end of the transaction.
//!
//! Many rows are one statement with `(VALUES (?, ?))` in it. Its list is made as long as the next power of two, so that
//! few texts are prepared and kept; what is left over is NULL, and `column1 IS NOT NULL` passes over it. (A JSON array
//! that `jsonb_each` unfolds costs more than the b-trees of the rows themselves.)

use actors::ports::store::StoreError;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Arguments, AssertSqlSafe, Either, Encode, Executor, Sqlite, Type};

use super::connection::{Row, Select, store_error};
use crate::store::rows::{count, expect_rows};

/// Rows of one statement at most: SQLite takes 32,766 parameters, an order has 21.
const MOST_ROWS: usize = 1024;

/// An INSERT of rows: `INSERT … SELECT * FROM (VALUES (?, …)) WHERE column1 IS NOT NULL`.
pub(super) struct Insert {
    pub(super) table: &'static str,
    pub(super) statement: &'static str,
}

/// A query about rows that it is given: `SELECT … (VALUES (?, …)) … WHERE column1 IS NOT NULL …`.
pub(super) struct Asked(pub(super) &'static str);

/// Statements with their arguments, and how many rows each must change.
#[derive(Default)]
pub(super) struct Script {
    text: String,
    arguments: SqliteArguments,
    expected: Vec<(&'static str, Option<usize>)>,
}

impl Script {
    /// Adds a statement that must change so many rows of `table`. Its parameters are plain `?`, put in their order.
    pub(super) fn change(&mut self, table: &'static str, rows: usize, statement: &'static str) -> Put<'_> {
        self.add(table, Some(rows), statement)
    }

    /// Adds a statement that may change any number of rows.
    pub(super) fn change_any(&mut self, table: &'static str, statement: &'static str) -> Put<'_> {
        self.add(table, None, statement)
    }

    /// Adds the INSERT of these rows, all of which must go in.
    pub(super) fn insert<T>(&mut self, insert: &Insert, rows: &[T], put: impl Fn(&mut Put<'_>, &T)) {
        self.add_insert(insert, rows, |part| Some(part.len()), put);
    }

    /// Adds an INSERT that may leave some of these rows out.
    pub(super) fn insert_any<T>(&mut self, insert: &Insert, rows: &[T], put: impl Fn(&mut Put<'_>, &T)) {
        self.add_insert(insert, rows, |_| None, put);
    }

    fn add_insert<T>(
        &mut self,
        insert: &Insert,
        rows: &[T],
        expected: impl Fn(&[T]) -> Option<usize>,
        put: impl Fn(&mut Put<'_>, &T),
    ) {
        for part in rows.chunks(MOST_ROWS) {
            let statement = RowList::of(insert.statement, part.len());
            self.add(insert.table, expected(part), &statement.text);
            statement.put_rows(&mut self.arguments, part, &put);
        }
    }

    fn add(&mut self, table: &'static str, rows: Option<usize>, statement: &str) -> Put<'_> {
        self.text.push_str(statement);
        self.text.push(';');
        self.expected.push((table, rows));
        Put { arguments: &mut self.arguments }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.expected.is_empty()
    }

    /// Carries it out; how many rows all statements changed.
    pub(super) async fn run(self, connection: &mut SqliteConnection) -> Result<usize, StoreError> {
        // The text is put together from literals of this program.
        let script = sqlx::query_with(AssertSqlSafe(self.text), self.arguments);
        let mut expected = self.expected.into_iter();
        let mut all_changed = 0;
        let mut done = connection.fetch_many(script);
        while let Some(step) = done.try_next().await.map_err(store_error)? {
            let (Either::Left(result), Some((table, rows))) = (step, expected.next()) else {
                return Err(StoreError::Inconsistent("a script has an answer too many".into()));
            };
            let changed: usize = count(table, i64::try_from(result.rows_affected()).unwrap_or(i64::MAX))?;
            expect_rows(table, rows.unwrap_or(changed), changed)?;
            all_changed += changed;
        }
        match expected.next() {
            Some((table, _)) => Err(StoreError::Inconsistent(format!("a script ended before its change of {table}"))),
            None => Ok(all_changed),
        }
    }
}

impl Asked {
    /// The queries about these rows; more than one when they are very many.
    pub(super) fn about<T, R: Row>(&self, rows: &[T], put: impl Fn(&mut Put<'_>, &T)) -> Vec<Select<'static, R>> {
        let about = |part: &[T]| {
            let statement = RowList::of(self.0, part.len());
            let mut arguments = SqliteArguments::default();
            statement.put_rows(&mut arguments, part, &put);
            // The text is put together from literals of this program.
            sqlx::query_as_with(AssertSqlSafe(statement.text), arguments)
        };
        rows.chunks(MOST_ROWS).map(about).collect()
    }
}

/// A statement whose list of VALUES is long enough for some rows.
struct RowList {
    text: String,
    /// Columns of a row.
    width: usize,
    /// Rows of the list.
    places: usize,
}

impl RowList {
    fn of(statement: &str, rows: usize) -> Self {
        let start = statement.find("VALUES (").expect("a statement about rows has VALUES") + "VALUES ".len();
        let end = start + statement[start..].find(')').expect("a row ends") + 1;
        let row = &statement[start..end];
        let places = rows.next_power_of_two();
        let more = format!(", {row}").repeat(places - 1);
        let text = [&statement[..end], more.as_str(), &statement[end..]].concat();
        Self { text, width: row.matches('?').count(), places }
    }

    /// Puts the rows, and NULL into what is left of the list.
    fn put_rows<T>(&self, arguments: &mut SqliteArguments, rows: &[T], put: &impl Fn(&mut Put<'_>, &T)) {
        let from = arguments.len();
        rows.iter().for_each(|row| put(&mut Put { arguments }, row));
        assert_eq!(arguments.len() - from, rows.len() * self.width, "each row has {} columns", self.width);
        for _ in rows.len() * self.width..self.places * self.width {
            arguments.add(None::<i64>).expect("NULL is a value");
        }
    }
}

/// Takes the arguments of a statement, or of a row.
pub(super) struct Put<'a> {
    arguments: &'a mut SqliteArguments,
}

impl Put<'_> {
    /// The next one.
    pub(super) fn put<'v>(&mut self, value: impl Encode<'v, Sqlite> + Type<Sqlite>) -> &mut Self {
        self.arguments.add(value).expect("plain numbers and strings are values");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_as_long_as_the_next_power_of_two() {
        let list = RowList::of("SELECT * FROM (VALUES (?, ?)) WHERE column1 IS NOT NULL", 3);
        assert_eq!((list.width, list.places), (2, 4));
        assert_eq!(list.text, "SELECT * FROM (VALUES (?, ?), (?, ?), (?, ?), (?, ?)) WHERE column1 IS NOT NULL");
        let mut arguments = SqliteArguments::default();
        list.put_rows(&mut arguments, &[1, 2, 3], &|row, number: &i64| {
            row.put(*number).put("text");
        });
        assert_eq!(arguments.len(), 8);
    }
}
