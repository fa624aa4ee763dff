//! Tables that fit the terminal: ids as short as they tell each other apart, long texts cut, code words in plain
//! ones. What a program reads (`--json`, or a pipe) is whole.

/// Ids are not shortened below this.
const ID_LEAST: usize = 6;
/// Columns are not cut below this.
const COLUMN_LEAST: usize = 8;
/// What the table puts around each value.
const AROUND: usize = 2;

/// Words of the program, such as `never_completed`, as people write them; anything else as it is.
pub(super) fn plain(text: &str) -> String {
    let is_code = text.contains('_') && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if is_code {
        text.replace('_', " ")
    } else {
        text.to_owned()
    }
}

/// Shortens the values of a column of ids to the length at which they differ.
pub(super) fn shorten_ids(rows: &mut [Vec<String>], column: usize) {
    let longest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let cut = |text: &str, length: usize| text.chars().take(length).collect::<String>();
    let differ = |length: &usize| {
        let mut all: Vec<String> = rows.iter().map(|row| cut(&row[column], *length)).collect();
        let mut whole: Vec<&String> = rows.iter().map(|row| &row[column]).collect();
        all.sort_unstable();
        all.dedup();
        whole.sort_unstable();
        whole.dedup();
        all.len() == whole.len()
    };
    let Some(length) = (ID_LEAST..longest).find(differ) else { return };
    for row in rows {
        row[column] = cut(&row[column], length);
    }
}

/// Cuts the widest columns until a row has no more than `width` characters; `kept` ones are not cut.
pub(super) fn fit(names: &[String], rows: &mut [Vec<String>], width: usize, kept: &[usize]) {
    for value in rows.iter_mut().flatten() {
        if value.contains(char::is_control) {
            *value =
                value.split(char::is_control).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        }
    }
    let count = |text: &String| text.chars().count();
    let mut widths: Vec<usize> = (0..names.len())
        .map(|at| rows.iter().map(|row| count(&row[at])).chain([count(&names[at])]).max().unwrap_or(0))
        .collect();
    let room = width.saturating_sub(AROUND * names.len());
    while widths.iter().sum::<usize>() > room {
        let least = |at: usize| COLUMN_LEAST.max(count(&names[at]));
        let widest = (0..names.len())
            .filter(|at| !kept.contains(at) && widths[*at] > least(*at))
            .max_by_key(|at| widths[*at]);
        let Some(at) = widest else { break };
        widths[at] -= 1;
    }
    for row in rows {
        for (value, width) in row.iter_mut().zip(&widths) {
            if count(value) > *width {
                *value = value.chars().take(width.saturating_sub(1)).chain(['…']).collect();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| (*value).to_owned()).collect()
    }

    #[test]
    fn code_words_become_plain_ones_and_nothing_else_does() {
        assert_eq!(plain("never_completed"), "never completed");
        for same in ["firing", "disk_low on web_1", "Never_Completed", "", "a b"] {
            assert_eq!(plain(same), same);
        }
    }

    #[test]
    fn ids_are_cut_to_where_they_differ() {
        let mut rows = vec![strings(&["3f0c2a9d11e07b42"]), strings(&["3f0c2a9d22e07b42"])];
        shorten_ids(&mut rows, 0);
        assert_eq!(rows.concat(), strings(&["3f0c2a9d1", "3f0c2a9d2"]));
        let mut rows = vec![strings(&["3f0c2a9d11e07b42"]), strings(&["9f0c2a9d22e07b42"])];
        shorten_ids(&mut rows, 0);
        assert_eq!(rows.concat(), strings(&["3f0c2a", "9f0c2a"]));
        let mut rows = vec![strings(&["s1"]), strings(&["s12"])];
        shorten_ids(&mut rows, 0);
        assert_eq!(rows.concat(), strings(&["s1", "s12"]));
    }

    #[test]
    fn rows_fit_the_width_and_ids_stay_whole() {
        let names = strings(&["id", "host", "summary"]);
        let mut rows = vec![
            strings(&["3f0c2a9d11e0", "web-1", &"a long story ".repeat(20)]),
            strings(&["3f0c2a9d22e0", "a-host-with-a-rather-long-name", "short\nand more"]),
        ];
        fit(&names, &mut rows, 60, &[0]);
        for row in &rows {
            assert!(row.iter().map(|value| value.chars().count() + AROUND).sum::<usize>() <= 60, "{row:?}");
        }
        assert_eq!(rows[0][0], "3f0c2a9d11e0");
        assert!(rows[0][2].ends_with('…') && rows[1][2] == "short and more", "{rows:?}");
    }
}
