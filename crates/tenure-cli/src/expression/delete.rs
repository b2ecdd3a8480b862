//! `delpaths`: all paths are of the value as it was, so they are deleted together.
//!
//! One pass over each object and array that loses something; one deletion at a time would be quadratic.

use jaq_core::Error;
use jaq_json::{Rc, Val};

use super::place;
use super::value::Jq;

/// Deletes the places at `paths`, an array of arrays. What is not there needs no deleting.
pub(super) fn delete_paths(value: Jq, paths: Jq) -> Result<Jq, Error<Jq>> {
    let mut value = value.into_val();
    let paths = match paths.into_val() {
        Val::Arr(paths) => Rc::unwrap_or_clone(paths),
        other => return Err(Error::typ(other.into(), "array of paths")),
    };
    let keys = |path: Val| match path {
        Val::Arr(keys) => Ok(keys),
        other => Err(Error::typ(other.into(), "path (array of keys)")),
    };
    let mut paths = paths.into_iter().map(keys).collect::<Result<Vec<_>, _>>()?;
    paths.sort_unstable();
    if paths.first().is_some_and(|path| path.is_empty()) {
        return Ok(Val::Null.into());
    }
    let paths: Vec<&[Val]> = paths.iter().map(|path| path.as_slice()).collect();
    delete(&mut value, &paths)?;
    Ok(value.into())
}

/// Deletes below `value`; the paths are sorted, and none is empty.
fn delete(value: &mut Val, paths: &[&[Val]]) -> Result<(), Error<Jq>> {
    let mut doomed = Vec::new();
    // Slices come last in the order of keys. What is deleted within one moves the elements behind it, not those before.
    for group in paths.chunk_by(|one, other| one[0] == other[0]).rev() {
        let key = &group[0][0];
        if group[0].len() == 1 {
            doomed.push(key);
            continue;
        }
        let rest: Vec<&[Val]> = group.iter().map(|path| &path[1..]).collect();
        delete_in_child(value, key, &rest)?;
    }
    match value {
        Val::Null => Ok(()),
        _ if doomed.is_empty() => Ok(()),
        Val::Obj(fields) => {
            doomed.reverse();
            Rc::make_mut(fields).retain(|key, _| doomed.binary_search(&key).is_err());
            Ok(())
        }
        Val::Arr(items) => {
            let mut stays = vec![true; items.len()];
            for key in doomed {
                match key {
                    Val::Num(_) => {
                        if let Some(stay) = place::position(key, items.len()).and_then(|at| stays.get_mut(at))
                        {
                            *stay = false;
                        }
                    }
                    Val::Obj(range) => {
                        stays[place::positions(&place::bounds(range), items.len())?].fill(false)
                    }
                    key => return Err(Error::index(Val::Arr(items.clone()).into(), key.clone().into())),
                }
            }
            let mut stays = stays.into_iter();
            Rc::make_mut(items).retain(|_| stays.next().unwrap_or(true));
            Ok(())
        }
        other => Err(Error::index(other.clone().into(), doomed[0].clone().into())),
    }
}

fn delete_in_child(value: &mut Val, key: &Val, rest: &[&[Val]]) -> Result<(), Error<Jq>> {
    match (value, key) {
        (Val::Null, _) => Ok(()),
        (Val::Obj(fields), key) => match Rc::make_mut(fields).get_mut(key) {
            Some(child) => delete(child, rest),
            None => Ok(()),
        },
        (Val::Arr(items), Val::Num(_)) => {
            match place::position(key, items.len()).and_then(|at| Rc::make_mut(items).get_mut(at)) {
                Some(child) => delete(child, rest),
                None => Ok(()),
            }
        }
        (Val::Arr(items), Val::Obj(range)) => {
            let at = place::positions(&place::bounds(range), items.len())?;
            let mut part = items[at.clone()].iter().cloned().collect();
            delete(&mut part, rest)?;
            if let Val::Arr(part) = part {
                Rc::make_mut(items).splice(at, part.iter().cloned());
            }
            Ok(())
        }
        (value, key) => Err(Error::index(value.clone().into(), key.clone().into())),
    }
}
