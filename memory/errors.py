"""What can go wrong in the memory, each said so that a person at 3 a.m. knows what to do."""


class StoreError(Exception):
    """Base of everything that the memory raises on purpose."""


class SqliteTooOld(StoreError):
    """The SQLite library can corrupt a database whose write-ahead log is reset."""


class StoreMissing(StoreError):
    """The store was opened for reading, and there is none."""


class NotAStore(StoreError):
    """The file is an SQLite database of something else, or no database at all."""


class StoreTooNew(StoreError):
    """The store was written by a newer Riverkeep."""


class StoreTooOld(StoreError):
    """The store needs a migration, and was opened for reading only."""


class StoreDamaged(StoreError):
    """SQLite found the file's contents inconsistent."""


class StoreBusy(StoreError):
    """Another process held the store's write lock for longer than the busy timeout."""


class StoreFull(StoreError):
    """The disk, or a limit on the file's size, left no room for a write; nothing of that write took effect.

    What is there can be read.
    """


class StoreClosed(StoreError):
    """The store was used after it was closed."""


class StoreReopened(StoreError):
    """The file was opened anew since the batch was read: it may be an older copy, whose offsets are others."""


class MisplacedText(StoreError):
    """A batch contradicts itself: a document beyond the offset that the batch says to read next."""


class UnknownRound(StoreError):
    """No round has that number."""


class UnknownGeneration(StoreError):
    """No generation has that number, or none that this operation could use."""


class WrongState(StoreError):
    """A round or generation is in a state from which the asked step is not possible."""


class NotJudgedAgain(StoreError):
    """What a round trained cannot be judged once more: its text, its parent or what it is judged on has changed."""


class StoreUnreadable(StoreError):
    """The operating system refused to read or write the file."""


class AsideFull(StoreError):
    """So much text is set aside that no further round may add to it."""
