"""Ask models of the study something here and now, and see which emotions their answers carry."""

from dataclasses import dataclass

import numpy as np

from emogap.answers.respond import answer, load_prompts, open_model
from emogap.config import Config, Sampling
from emogap.errors import UsageError
from emogap.records import row_seed
from emogap.train.models import check_known, study_models


@dataclass(frozen=True)
class Answer:
    """One model's answer."""

    model: str
    text: str
    finished: bool
    scores: np.ndarray | None
    """float32 (28,), in the order of ``LABELS``; None for an empty answer."""


class LiveModels:
    """The study's models and the judging classifier, each loaded when it is first asked and kept.

    All models of an embedded or GPT-2 study together fit in a few GiB.
    """

    def __init__(self, config: Config):
        self._config = config
        self._models = {model.key: model for model in study_models(config)}
        self._prompts = {(p.instruction, p.input): p.id for p in load_prompts(config.respond.prompts)}
        self._engines = {}
        self._classifier = None

    @property
    def names(self) -> list[str]:
        return list(self._models)

    def ask(
        self, name: str, instruction: str, input: str = "", draw: int = 0, sampling: Sampling | None = None
    ) -> Answer:
        """One model's answer in the form of fine-tuning. Another ``draw`` is another answer, the same one repeats; to
        a prompt of the study, draw 0 has the seed of the study's first answer, and so on. ``sampling``: the study's if
        not given.

        Raises ``UsageError`` for an empty instruction or an unknown model, ``MissingInput`` for one not trained yet.
        """
        check_known(name, self.names)
        if not instruction.strip():
            raise UsageError("the instruction is empty; type one")
        if name not in self._engines:
            self._engines[name] = open_model(self._config, self._models[name])
        row = {
            "model": name,
            "prompt_id": "playground",
            "sample": draw,
            "instruction": instruction,
            "input": input,
            "seed": self._seed(instruction, input, draw),
        }
        answered = answer(self._config, self._engines[name], [row], sampling or self._config.respond.sampling)[0]
        text = answered["response"]
        return Answer(name, text, answered["finished"], self._read(text) if text else None)

    def _seed(self, instruction: str, input: str, draw: int) -> int:
        prompt = self._prompts.get((instruction, input))
        if prompt:
            return row_seed(self._config.seed, f"{prompt}/{draw}", "respond")
        return row_seed(self._config.seed, f"{instruction}\x1f{input}\x1f{draw}", "playground")

    def _read(self, text: str) -> np.ndarray:
        from emogap.emotion.classify import load

        if self._classifier is None:
            self._classifier = load(self._config.sentiment.classifiers[0])
        return self._classifier.scores([text])[0]

    def close(self) -> None:
        """Give the models' memory back."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()
