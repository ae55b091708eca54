use std::ops::Range;

use github_actions_expressions::{Expr, SpannedExpr};

use super::{
    super::yaml::{Fault, Node, Yaml},
    Object, Pattern, Value, asks_for_status, evaluate,
};

/// A part of a text: as it stands, or what is between `${{` and `}}` (and where that is, braces included).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment<'text> {
    Literal(&'text str),
    Expression(&'text str, Range<usize>),
}

/// Cut a text as GitHub does (`TemplateReader.ParseScalar`): a quote hides `}}`.
pub fn segments(text: &str) -> Result<Vec<Segment<'_>>, &'static str> {
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(found) = text[from..].find("${{") {
        let start = from + found;
        if start > from {
            parts.push(Segment::Literal(&text[from..start]));
        }
        let end =
            end_of_expression(text, start + 3).ok_or("the expression is not closed; it ends with }}")?;
        let inner = text[start + 3..end - 2].trim();
        if inner.is_empty() {
            return Err("the expression is empty");
        }
        parts.push(Segment::Expression(inner, start..end));
        from = end;
    }
    if from < text.len() {
        parts.push(Segment::Literal(&text[from..]));
    }
    Ok(parts)
}

fn end_of_expression(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut quoted = false;
    for at in from..bytes.len() {
        match bytes[at] {
            b'\'' => quoted = !quoted,
            b'}' if !quoted && bytes[at - 1] == b'}' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// A node with its expressions evaluated. An error is one that GitHub too would find before the workflow runs.
pub fn resolve(node: &Node, contexts: &Object) -> Result<Value, Fault> {
    Ok(match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(*value),
        Yaml::Number(value) => Value::Number(*value),
        Yaml::Text(text) => resolve_text(text, contexts).map_err(|why| Fault::new(node.span.clone(), why))?,
        Yaml::Sequence(items) => {
            Value::Array(items.iter().map(|item| resolve(item, contexts)).collect::<Result<_, _>>()?)
        }
        Yaml::Mapping(pairs) => {
            let mut object = Object::default();
            for (key, value) in pairs {
                // `${{ insert }}: ${{ … }}` brings keys that nobody knows.
                if key.name.contains("${{") {
                    object.open = true;
                } else {
                    object.set(&key.name, resolve(value, contexts)?);
                }
            }
            Value::Object(object)
        }
    })
}

fn resolve_text(text: &str, contexts: &Object) -> Result<Value, String> {
    let parts = segments(text)?;
    if let [Segment::Expression(inner, _)] = parts.as_slice() {
        return Ok(evaluate(&parse(inner)?, contexts));
    }
    let mut alternatives = vec![Pattern::exact("")];
    for part in parts {
        let values = match part {
            Segment::Literal(text) => vec![Pattern::exact(text)],
            Segment::Expression(inner, _) => {
                let value = evaluate(&parse(inner)?, contexts);
                value.alternatives().iter().map(Value::as_pattern).collect()
            }
        };
        // More combinations than are worth telling apart: the part may be anything.
        let values = if alternatives.len() * values.len() > 64 { vec![Pattern::anything()] } else { values };
        let joined = |before: &Pattern, value: &Pattern| {
            let mut pattern = before.clone();
            pattern.push(value);
            pattern
        };
        alternatives = alternatives
            .iter()
            .flat_map(|before| values.iter().map(move |value| joined(before, value)))
            .collect();
    }
    Ok(Value::one_of(alternatives.into_iter().map(Value::Text)))
}

/// An `if`, with or without its braces: its value, and whether it asks for the state of what went before.
pub fn condition(node: &Node, contexts: &Object) -> Result<(Value, bool), Fault> {
    let fault = |why: String| Fault::new(node.span.clone(), why);
    let text = match &node.value {
        Yaml::Text(text) => text,
        Yaml::Null => "",
        _ => return Ok((resolve(node, contexts)?, false)),
    };
    let parts = segments(text).map_err(|why| fault(why.to_owned()))?;
    let expression = match parts.as_slice() {
        [Segment::Expression(inner, _)] => inner,
        [Segment::Literal(text)] => text.trim(),
        [] => "",
        // `${{ a }} && b` is a text that is not empty, and so it is true: GitHub takes it for that.
        _ => return Ok((resolve(node, contexts)?, false)),
    };
    if expression.is_empty() {
        return Ok((Value::either(), false));
    }
    let expression = parse(expression).map_err(fault)?;
    Ok((evaluate(&expression, contexts), asks_for_status(&expression)))
}

/// GitHub's own bound.
const MOST_CHARACTERS: usize = 21_000;

/// Parse an expression, without its braces.
pub fn parse(text: &str) -> Result<SpannedExpr<'_>, String> {
    if text.chars().count() > MOST_CHARACTERS {
        return Err(format!(
            "the expression is longer than {MOST_CHARACTERS} characters, which GitHub does not read"
        ));
    }
    Expr::parse(text).map_err(|why| format!("`{text}` is no expression: {why}"))
}

#[cfg(test)]
mod tests {
    use super::{Segment, segments};

    #[test]
    fn a_quote_hides_the_end_of_an_expression() {
        let text = "a${{ format('}}{0}', b) }}c";
        assert_eq!(
            segments(text).unwrap(),
            [Segment::Literal("a"), Segment::Expression("format('}}{0}', b)", 1..26), Segment::Literal("c")]
        );
        assert!(segments("${{ 'a }}").is_err() && segments("${{ }}").is_err());
        assert_eq!(segments("plain").unwrap(), [Segment::Literal("plain")]);
    }
}
