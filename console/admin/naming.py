"""Other packages' tables under the names that the menu has for them."""

import copy
from typing import Any

from sandbox_platform.kit.generics import ChangeList


class NamedList(ChangeList):  # type: ignore[misc]
    """Counts rows by `nouns` of the admin, singular and plural: the model's own name is the package's."""

    opts: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opts = copy.copy(self.opts)
        self.title = str(self.model_admin.nouns[1]).capitalize()
        self.opts.verbose_name, self.opts.verbose_name_plural = self.model_admin.nouns
