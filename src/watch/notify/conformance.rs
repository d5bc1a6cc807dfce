//! The requirements for every kernel's notifications, as tests.
//!
//! Owns: what the rest relies upon, whatever the system. Must not know: any system.

/// The tests of a `Kernel`, which stand in the module that this is called in.
macro_rules! holds {
    ($kernel:ty) => {
        mod conformance {
            use std::fs;
            use std::path::Path;
            use std::time::{Duration, Instant};

            use super::super::super::notice::{Notice, Refusal};
            use super::*;

            const LONG: Duration = Duration::from_secs(20);

            fn until(kernel: &mut $kernel, expected: &Notice) {
                let deadline = Instant::now() + LONG;
                while !(kernel.wait(LONG) && kernel.take().contains(expected)) {
                    assert!(Instant::now() < deadline, "{expected:?} was not told");
                }
            }

            #[test]
            fn one_directory_may_be_left_and_those_below_it_kept() {
                let dir = tempfile::tempdir().expect("a directory");
                fs::create_dir_all(dir.path().join("a/b")).expect("a directory");
                let mut kernel = <$kernel>::new(dir.path()).expect("notices");
                for directory in ["a", "a/b"] {
                    kernel.watch(Path::new(directory)).expect("it can be watched");
                }
                kernel.unwatch(Path::new("a"));
                kernel.unwatch(Path::new("never"));
                assert_eq!(kernel.directories().collect::<Vec<_>>(), [Path::new("a/b")]);
                fs::write(dir.path().join("a/x"), "").expect("a file");
                fs::write(dir.path().join("a/b/x"), "").expect("a file");
                until(&mut kernel, &Notice::Appeared("a/b/x".into()));
            }

            #[test]
            fn what_appears_changes_and_goes_is_told() {
                let dir = tempfile::tempdir().expect("a directory");
                let mut kernel = <$kernel>::new(dir.path()).expect("notices");
                fs::create_dir(dir.path().join("a")).expect("a directory");
                kernel.watch(Path::new("a")).expect("it can be watched");
                assert!(!kernel.wait(Duration::ZERO));
                fs::write(dir.path().join("a/x"), "").expect("a file");
                until(&mut kernel, &Notice::Appeared("a/x".into()));
                fs::write(dir.path().join("a/x"), "more").expect("a file");
                until(&mut kernel, &Notice::Changed("a/x".into()));
                fs::rename(dir.path().join("a/x"), dir.path().join("a/y")).expect("a file");
                until(&mut kernel, &Notice::Gone("a/x".into()));
                fs::remove_file(dir.path().join("a/y")).expect("a file");
                until(&mut kernel, &Notice::Gone("a/y".into()));
            }

            #[test]
            fn what_is_forgotten_is_silent_and_can_be_watched_again() {
                let dir = tempfile::tempdir().expect("a directory");
                let mut kernel = <$kernel>::new(dir.path()).expect("notices");
                fs::create_dir_all(dir.path().join("a/b")).expect("a directory");
                fs::create_dir_all(dir.path().join("ab")).expect("a directory");
                for directory in ["a", "a/b", "ab"] {
                    kernel.watch(Path::new(directory)).expect("it can be watched");
                }
                kernel.forget(Path::new("a"));
                assert_eq!(kernel.watched(), 1);
                assert!(kernel.watches(Path::new("ab")) && !kernel.watches(Path::new("a/b")));
                kernel.watch(Path::new("a/b")).expect("it can be watched");
                fs::write(dir.path().join("a/b/x"), "").expect("a file");
                until(&mut kernel, &Notice::Appeared("a/b/x".into()));
            }

            #[test]
            fn only_directories_are_watched() {
                let dir = tempfile::tempdir().expect("a directory");
                let mut kernel = <$kernel>::new(dir.path()).expect("notices");
                fs::write(dir.path().join("file"), "").expect("a file");
                for path in ["file", "nothing"] {
                    assert_eq!(kernel.watch(Path::new(path)), Err(Refusal::Absent), "{path}");
                }
                assert_eq!(kernel.watched(), 0);
            }
        }
    };
}

pub(super) use holds;
