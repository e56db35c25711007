//! A sequence as the source of a test.

use crate::op::Op;

/// The variants of each type, by which its values print.
const TYPES: [(&str, &[&str]); 9] = [
    ("Against", &["Version", "Create", "Mod", "Bytes", "Lease", "Missing"]),
    ("End", &["One", "To", "Prefix", "FromKey"]),
    ("Guise", &["Nobody", "Forged", "U"]),
    ("Key", &["K", "Empty", "Nul"]),
    ("Lease", &["L", "Chosen"]),
    ("Rev", &["At", "Head", "Compacted"]),
    ("Step", &["Get", "Set", "Del", "Sub", "Void"]),
    ("Value", &["Nothing", "V", "Bulk"]),
    ("Who", &["Everyone", "Own", "Stranger"]),
];

/// A test that sends these to both servers.
pub(crate) fn as_test(seed: u64, ops: &[Op]) -> String {
    let lines: String = ops.iter().map(|op| format!("        {},\n", source(op))).collect();
    format!("#[test]\nfn seed_{seed}() {{\n    use crate::op::*;\n    same(&[\n{lines}    ]);\n}}\n")
}

/// The debug form with the names of types, and with every bracket a vector.
fn source(op: &Op) -> String {
    let shown = format!("{op:?}");
    let mut source = String::from("Op::");
    let mut rest = shown.as_str();
    // The name of the operation itself.
    let first = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    source.push_str(&rest[..first]);
    rest = &rest[first..];
    while let Some(start) = rest.find(|c: char| c.is_alphabetic() || c == '[') {
        source.push_str(&rest[..start]);
        rest = &rest[start..];
        if let Some(after) = rest.strip_prefix('[') {
            source.push_str("vec![");
            rest = after;
            continue;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let of = TYPES.iter().find(|(_, variants)| variants.contains(&name) && !after.starts_with([' ', ':']));
        if let Some((name, _)) = of {
            source.push_str(name);
            source.push_str("::");
        }
        source.push_str(name);
        rest = after;
    }
    source + rest
}

#[cfg(test)]
mod tests {
    use super::as_test;
    use crate::op::*;

    /// What is printed is what is written here.
    #[test]
    fn a_printed_sequence_is_its_own_source() {
        #[rustfmt::skip]
        let ops = [
            Op::Txn(Txn { compare: vec![Compare { key: Key::K(1), end: End::One, result: 0, against: Against::Lease(Lease::L(7)) }], success: vec![Step::Sub(Txn { compare: vec![], success: vec![], failure: vec![] })], failure: vec![Step::Void] }),
            Op::LeaseKeepAlive { ids: vec![Lease::Chosen(2)] },
            Op::Alarm { action: 1, who: Who::Own, alarm: 1 },
            Op::Compact { rev: Rev::Head(-1), physical: true },
            Op::Settle,
            Op::As(Guise::U(2)),
            Op::RoleGrant { role: 1, kind: 2, key: Key::K(3), end: End::To(Key::K(4)) },
        ];
        let expected: Vec<&str> =
            include_str!("print.rs").split("let ops = [\n").nth(1).unwrap().lines().take(7).collect();
        let printed = as_test(1, &ops);
        let printed: Vec<&str> = printed.lines().filter(|line| line.trim().starts_with("Op::")).collect();
        let trimmed = |lines: &[&str]| lines.iter().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
        assert_eq!(trimmed(&printed), trimmed(&expected));
    }
}
