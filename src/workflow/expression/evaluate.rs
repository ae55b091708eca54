use std::cmp::Ordering;

use github_actions_expressions::{
    Evaluation, Expr, SpannedExpr,
    call::{Call, Function},
    context::Context,
    literal::Literal,
    op::{BinExpr, BinOp, UnOp},
};

use super::{Object, Pattern, Value};

/// What an expression comes to, given the contexts (`github`, `inputs`, `matrix`, …) as one object.
pub fn evaluate(expression: &SpannedExpr<'_>, contexts: &Object) -> Value {
    match &expression.inner {
        Expr::Literal(Literal::Null) => Value::Null,
        Expr::Literal(Literal::Boolean(value)) => Value::Bool(*value),
        Expr::Literal(Literal::Number(value)) => Value::Number(*value),
        Expr::Literal(Literal::String(text)) => Value::text(text.as_ref()),
        Expr::Call(call) => function(call, contexts),
        Expr::Context(context) => look_up(context, contexts),
        Expr::UnExpr { op: UnOp::Not, expr } => {
            Value::bool(evaluate(expr, contexts).truth().map(|truth| !truth))
        }
        Expr::BinExpr(binary) => operators(binary, contexts),
        Expr::Identifier(name) => contexts.get(name.as_str()),
        Expr::Star | Expr::Index(_) => Value::Unknown,
    }
}

/// Whether an `if` asks for the state of what went before itself; otherwise GitHub adds `success() &&`.
pub fn asks_for_status(expression: &SpannedExpr<'_>) -> bool {
    let mut left = vec![expression];
    while let Some(expression) = left.pop() {
        match &expression.inner {
            Expr::Call(call) => {
                let status = [Function::Always, Function::Success, Function::Failure, Function::Cancelled];
                if status.contains(&call.func) {
                    return true;
                }
                left.extend(&call.args);
            }
            Expr::UnExpr { expr: inner, .. } | Expr::Index(inner) => left.push(inner),
            Expr::BinExpr(binary) => left.extend([&*binary.lhs, &*binary.rhs]),
            Expr::Context(context) => left.extend(&context.parts),
            _ => {}
        }
    }
    false
}

fn look_up(context: &Context<'_>, contexts: &Object) -> Value {
    let Some((first, rest)) = context.parts.split_first() else { return Value::Unknown };
    let mut value = evaluate(first, contexts);
    for part in rest {
        value = match &part.inner {
            Expr::Identifier(name) => value.field(name.as_str()),
            Expr::Index(index) if matches!(index.inner, Expr::Star) => Value::Unknown,
            Expr::Index(index) => at(&value, &evaluate(index, contexts)),
            // `labels.*.name` is a list of whatever is there.
            _ => Value::Unknown,
        };
    }
    value
}

fn at(value: &Value, index: &Value) -> Value {
    index.exact().map_or(Value::Unknown, |index| at_exactly(value, &index))
}

/// A list is asked for the index as a number, an object for it as a text, whatever it was written as.
fn at_exactly(value: &Value, index: &Evaluation) -> Value {
    match value {
        Value::Array(_) => value.at(index.as_number()),
        Value::OneOf(values) => Value::one_of(values.iter().map(|value| at_exactly(value, index))),
        value => value.field(&index.sema().to_string()),
    }
}

/// Operators, in a row from the left: `a || b || c` stands one within the other as it is parsed, and there may be
/// thousands of them.
fn operators(outermost: &BinExpr<'_>, contexts: &Object) -> Value {
    let mut row = vec![(&outermost.op, &outermost.rhs)];
    let mut first = &outermost.lhs;
    while let Expr::BinExpr(inner) = &first.inner {
        row.push((&inner.op, &inner.rhs));
        first = &inner.lhs;
    }
    let mut value = evaluate(first, contexts);
    for (operator, operand) in row.into_iter().rev() {
        value = operate(value, operator, operand, contexts);
    }
    value
}

fn operate(left: Value, operator: &BinOp, operand: &SpannedExpr<'_>, contexts: &Object) -> Value {
    let right = std::cell::OnceCell::new();
    let right = || right.get_or_init(|| evaluate(operand, contexts)).clone();
    match operator {
        // The operand that decides is the result, not `true` or `false`.
        BinOp::And => Value::one_of(left.alternatives().into_iter().map(|left| match left.truth() {
            Some(true) => right(),
            Some(false) => left,
            None => Value::one_of([falsy(&left), right()]),
        })),
        BinOp::Or => Value::one_of(left.alternatives().into_iter().map(|left| match left.truth() {
            Some(true) => left,
            Some(false) => right(),
            None => Value::one_of([left, right()]),
        })),
        BinOp::Eq => Value::bool(left.equals(&right())),
        BinOp::Neq => Value::bool(left.equals(&right()).map(|equal| !equal)),
        BinOp::Lt => Value::bool(compare(&left, &right(), Ordering::is_lt)),
        BinOp::Le => Value::bool(compare(&left, &right(), Ordering::is_le)),
        BinOp::Gt => Value::bool(compare(&left, &right(), Ordering::is_gt)),
        BinOp::Ge => Value::bool(compare(&left, &right(), Ordering::is_ge)),
    }
}

/// What something unknown can be when it counts as false.
fn falsy(value: &Value) -> Value {
    match value {
        Value::Text(_) => Value::text(""),
        _ => Value::one_of([Value::Null, Value::Bool(false), Value::Number(0.0), Value::text("")]),
    }
}

fn compare(left: &Value, right: &Value, holds: fn(Ordering) -> bool) -> Option<bool> {
    let (left, right) = (left.exact()?, right.exact()?);
    Some(left.sema().partial_cmp(&right.sema()).is_some_and(holds))
}

fn function(call: &Call<'_>, contexts: &Object) -> Value {
    let arguments: Vec<Value> = call.args.iter().map(|argument| evaluate(argument, contexts)).collect();
    match (call.func, arguments.as_slice()) {
        (Function::Contains, [all, wanted]) => Value::bool(contains(all, wanted)),
        (Function::StartsWith, [text, start]) => {
            Value::bool(affix(text, start, Pattern::prefix, |t, s| t.starts_with(s)))
        }
        (Function::EndsWith, [text, end]) => {
            Value::bool(affix(text, end, Pattern::suffix, |t, s| t.ends_with(s)))
        }
        (Function::Format, [template, rest @ ..]) => format(template, rest),
        (Function::Join, [items, rest @ ..]) => join(items, rest.first()),
        (Function::FromJSON, [text]) => Value::one_of(text.clone().alternatives().iter().map(from_json)),
        (Function::Case, arguments) => case(arguments),
        (Function::ToJSON | Function::HashFiles, _) => Value::some_text(),
        (Function::Always, _) => Value::Bool(true),
        _ => Value::either(),
    }
}

fn contains(all: &Value, wanted: &Value) -> Option<bool> {
    match all {
        Value::Unknown | Value::Object(_) => None,
        Value::OneOf(values) => {
            let answers: Vec<Option<bool>> = values.iter().map(|all| contains(all, wanted)).collect();
            answers.iter().all(|answer| *answer == answers[0]).then(|| answers[0])?
        }
        Value::Array(items) => {
            let answers: Vec<Option<bool>> = items.iter().map(|item| item.equals(wanted)).collect();
            if answers.contains(&Some(true)) {
                Some(true)
            } else if answers.iter().all(|answer| *answer == Some(false)) {
                Some(false)
            } else {
                None
            }
        }
        text => {
            let (text, wanted) = (text.exact()?, wanted.exact()?);
            Some(folded(&text).contains(&folded(&wanted)))
        }
    }
}

/// Whether a text begins (ends) with another, of which the part that is known may be enough to tell.
fn affix(
    text: &Value,
    wanted: &Value,
    known: fn(&Pattern) -> &str,
    holds: fn(&str, &str) -> bool,
) -> Option<bool> {
    if matches!(text, Value::Unknown | Value::OneOf(_) | Value::Repository(_)) {
        return None;
    }
    if matches!(text, Value::Array(_) | Value::Object(_)) {
        return Some(false);
    }
    let wanted = folded(&wanted.exact()?);
    let pattern = text.as_pattern();
    let part = folded(&Evaluation::String(known(&pattern).to_owned()));
    if pattern.as_exact().is_some() || part.len() >= wanted.len() {
        return Some(holds(&part, &wanted));
    }
    // What is known already contradicts it.
    (!holds(&wanted, &part)).then_some(false)
}

fn folded(value: &Evaluation) -> String {
    value.sema().to_string().to_uppercase()
}

fn from_json(text: &Value) -> Value {
    let Some(text) = text.exact() else { return Value::Unknown };
    // GitHub's reader of JSON is laxer than ours; what ours does not read may still be a list of labels.
    serde_json::from_str(&text.sema().to_string()).map_or(Value::Unknown, Value::from_json)
}

fn format(template: &Value, arguments: &[Value]) -> Value {
    let Some(Evaluation::String(template)) = template.exact() else { return Value::some_text() };
    let mut pattern = Pattern::exact("");
    let mut rest = template.as_str();
    while let Some(at) = rest.find(['{', '}']) {
        pattern.push_literal(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            pattern.push_literal(brace);
            rest = after;
            continue;
        }
        let argument = after.split_once('}').and_then(|(number, after)| {
            Some((arguments.get(number.parse::<usize>().ok()?)?, after)).filter(|_| brace == "{")
        });
        let Some((argument, after)) = argument else { return Value::Unknown };
        pattern.push(&argument.as_pattern());
        rest = after;
    }
    pattern.push_literal(rest);
    Value::Text(pattern)
}

fn join(items: &Value, separator: Option<&Value>) -> Value {
    match items {
        Value::Array(items) => {
            let separator = separator.map_or_else(|| Pattern::exact(","), Value::as_pattern);
            let mut joined = Pattern::exact("");
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    joined.push(&separator);
                }
                joined.push(&item.as_pattern());
            }
            Value::Text(joined)
        }
        Value::Unknown | Value::OneOf(_) => Value::some_text(),
        Value::Object(_) => Value::text(""),
        plain => Value::Text(plain.as_pattern()),
    }
}

/// `case(condition, value, …, otherwise)`
fn case(arguments: &[Value]) -> Value {
    let mut possible = Vec::new();
    let mut rest = arguments;
    while let [condition, value, after @ ..] = rest {
        match condition.truth() {
            Some(true) => {
                possible.push(value.clone());
                return Value::one_of(possible);
            }
            Some(false) => {}
            None => possible.push(value.clone()),
        }
        rest = after;
    }
    possible.extend(rest.first().cloned());
    Value::one_of(possible)
}

#[cfg(test)]
mod tests {
    use github_actions_expressions::Expr;

    use super::super::{Object, Value};

    fn come_to(expression: &str) -> Value {
        let matrix =
            Object::new(vec![("System", Value::text("x86_64-linux")), ("n", Value::Number(1.5))], false);
        let contexts = Object::new(
            vec![
                ("matrix", Value::Object(matrix)),
                ("vars", Value::open_object(vec![])),
                (
                    "inputs",
                    Value::Object(Object::new(
                        vec![("kind", Value::one_of(["a", "b"].map(Value::text)))],
                        false,
                    )),
                ),
            ],
            false,
        );
        super::evaluate(&Expr::parse(expression).unwrap(), &contexts)
    }

    #[test]
    fn what_is_known_is_computed_by_githubs_rules() {
        for (expression, text) in [
            ("'vega'", "vega"),
            ("matrix.system", "x86_64-linux"),
            ("MATRIX['SYSTEM']", "x86_64-linux"),
            ("format('nix-{0}-{1}{{}}', matrix.system, matrix.n)", "nix-x86_64-linux-1.5{}"),
            ("fromJSON('[\"a\", \"b\"]')[1]", "b"),
            ("join(fromJSON('[\"a\", \"b\"]'), '-')", "a-b"),
            ("'A' == 'a' && 'yes' || 'no'", "yes"),
            ("null || false || 'last'", "last"),
            ("case(false, 'a', true, 'b', 'c')", "b"),
            ("contains('self-hosted,vega', 'VEGA') && 'in' || 'out'", "in"),
            ("startsWith(matrix.system, 'X86') && 'in' || 'out'", "in"),
            ("!matrix.nothing && 'none' || 'some'", "none"),
            ("0x10 == 16 && ' 1 ' == 1 && 'n' || 'm'", "n"),
        ] {
            assert_eq!(come_to(expression), Value::text(text), "{expression}");
        }
    }

    #[test]
    fn what_is_unknown_is_never_guessed() {
        for expression in [
            "vars.RUNNER",
            "vars.A || 'b'",
            "fromJSON(vars.A)",
            "fromJSON('[a]')",
            "vars.*",
            "toJSON(1) == '1'",
        ] {
            let value = come_to(expression);
            assert!(value == Value::Unknown || value == Value::either(), "{expression}: {value:?}");
        }
        let choice = |values: &[&str]| Value::one_of(values.iter().copied().map(Value::text));
        assert_eq!(come_to("vars.A == 'x' && 'big' || 'small'"), choice(&["big", "small"]));
        assert_eq!(come_to("inputs.kind"), choice(&["a", "b"]));
        assert_eq!(come_to("inputs.kind == 'c' && 'c' || 'd'"), Value::text("d"));
        assert_eq!(come_to("startsWith(format('nix-{0}', vars.A), 'nix-') && 'in'"), Value::text("in"));
        assert_eq!(come_to("endsWith(format('nix-{0}', vars.A), 'x')"), Value::either());
        assert_eq!(come_to("case(vars.A, 'a', 'b')"), choice(&["a", "b"]));
    }
}
