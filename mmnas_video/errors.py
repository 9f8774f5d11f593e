"""The two errors of this package.

Both take one plain message, so that they survive the trip from a data loader's worker process, which rebuilds
an exception from its type and its text.
"""


class ConfigError(ValueError):
    """Something that a person wrote is wrong: a config key, a file, an argument.

    The message names the key or file first, then what was found, what was expected, and what to do::

        train_dataloader.dataset.ann_file: found no file at 'data/k400/train.txt', expected an annotation
        list. Prepare it as docs/data.md says, or set the key.
    """


class StackError(RuntimeError):
    """The installed software cannot run this package, and only the person at the keyboard can change that.

    Not an ``ImportError``: MMEngine's ``custom_imports`` replaces every ``ImportError`` by a text about
    ``sys.path``, under which the advice would be lost.
    """
