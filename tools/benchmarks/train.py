"""``emogap bench train``: tokens a second of the training stages, against a bare PyTorch loop on the same batches."""

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emogap.commands import Parser, a_model
from emogap.config import Clm, HubModel, Sft
from emogap.paths import ROOT
from tools.bench import print_timings, ratio, time_in_turn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from emogap.train.trainer import Plan, StudyTrainer


def run(words: list[str]) -> None:
    """Time both ways in turn; print rates, their ratio, and the share of real tokens padded and packed."""
    parser = Parser(prog="emogap bench train", description=__doc__)
    parser.add_argument(
        "--model", type=a_model, default="embedded:smollm2-135m-instruct", help="a hub id, folder or embedded model"
    )
    parser.add_argument("--steps", type=int, default=20, help="steps a round (20)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (3)")
    parser.add_argument("--rank", type=int, default=16, help="of the adapters; 0 trains all weights (16)")
    parser.add_argument("--batch-size", type=int, default=4, help="blocks a batch (4)")
    parser.add_argument("--block-size", type=int, default=128, help="tokens a block (128)")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        _compare(arguments, Path(folder))


def _compare(arguments: argparse.Namespace, folder: Path) -> None:
    from emogap.lm.hub import resolve
    from emogap.lm.loading import load_causal, load_tokenizer
    from emogap.train.model_folder import with_adapters

    settings = Clm(
        batch_size=arguments.batch_size,
        accumulation=1,
        max_steps=arguments.steps,
        block_size=arguments.block_size,
        lora={"rank": arguments.rank},
    )
    path = resolve(HubModel(name=arguments.model)).path
    tokenizer = load_tokenizer(path)
    rows = _blocks(tokenizer, settings, arguments.steps)
    models = [with_adapters(load_causal(path).model, settings.lora) for _ in range(2)]
    trainer = _trainer(settings, models[0], tokenizer, rows, folder)
    loop = _bare_loop(trainer, models[1], arguments.steps)
    # Each round includes the start of a training (some 0.3 s), which a real one has only once: so take many steps.
    tokens = arguments.steps * settings.batch_size * settings.block_size

    def stage() -> float:
        trainer.train()
        return tokens

    def bare() -> float:
        loop()
        return tokens

    timings = time_in_turn({"stage": stage, "bare loop": bare}, arguments.rounds)
    print_timings(timings, "tokens", "bare loop")
    print(f"stage / bare loop: {ratio(timings, 'stage', 'bare loop'):.3f} (expected: 0.95 or more)")
    for packing, share in _real_token_shares(tokenizer, settings.batch_size).items():
        print(f"SFT {'packed' if packing else 'padded'}: {share:.1%} of what is computed are real tokens")


def _blocks(tokenizer: "PreTrainedTokenizerBase", settings: Clm, steps: int) -> list[dict[str, Any]]:
    """Blocks of the sample text, enough for ``steps`` steps; the text is repeated where it is too short."""
    from emogap.train.rows import block_rows, cut, wrap

    texts = [
        line.strip()
        for file in sorted((ROOT / "data/sample/babylm").glob("*.train"))
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]
    rows = block_rows(cut(wrap(tokenizer, texts), settings.block_size, "the sample"), closed=False)
    needed = steps * settings.batch_size
    return (rows * (needed // len(rows) + 1))[:needed]


def _plan(settings: Clm | Sft, task: str, model: "PreTrainedModel", tokenizer: Any, folder: Path) -> "Plan":
    from emogap.train.trainer import Plan

    return Plan("bench", task, settings, 0, folder, model, tokenizer, lambda plan, callbacks: None)


def _trainer(settings: Clm, model: "PreTrainedModel", tokenizer: Any, rows: list, folder: Path) -> "StudyTrainer":
    """The stage's trainer, without evaluations and checkpoints: the bare loop has none either."""
    from transformers import PrinterCallback, TrainingArguments, default_data_collator
    from transformers.trainer_utils import IntervalStrategy, SaveStrategy

    from emogap.train.trainer import StudyTrainer, arguments_for

    arguments = arguments_for(_plan(settings, "clm", model, tokenizer, folder), TrainingArguments)
    arguments.eval_strategy, arguments.save_strategy = IntervalStrategy.NO, SaveStrategy.NO
    arguments.load_best_model_at_end = False
    trainer = StudyTrainer(model, arguments, data_collator=default_data_collator, train_dataset=rows)
    trainer.remove_callback(PrinterCallback)
    return trainer


def _bare_loop(trainer: "StudyTrainer", model: "PreTrainedModel", steps: int) -> Any:
    """A plain loop over the trainer's batches: forward, backward, clip, step, learning rate."""
    import torch
    from transformers import get_cosine_schedule_with_warmup

    device = trainer.args.device
    model.to(device).train()
    model.config.use_cache = trainer.model.config.use_cache = False
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    dtype = torch.bfloat16 if trainer.args.bf16 else torch.float16
    mixed = trainer.args.bf16 or trainer.args.fp16
    batches = [{name: value.to(device) for name, value in batch.items()} for batch in trainer.get_train_dataloader()]

    def loop() -> None:
        optimizer = torch.optim.AdamW(trained, lr=trainer.args.learning_rate, weight_decay=0.0, fused=True)
        schedule = get_cosine_schedule_with_warmup(optimizer, 0, steps)
        scaler = torch.amp.GradScaler(device.type, enabled=trainer.args.fp16)
        for batch in batches:
            with torch.autocast(device.type, dtype, enabled=mixed):
                loss = model(**batch).loss
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            optimizer.zero_grad()
            loss.item()

    return loop


def _real_token_shares(tokenizer: "PreTrainedTokenizerBase", batch_size: int) -> dict[bool, float]:
    """Packed or not → share of real tokens in the batches that the SFT stage makes of the sample records."""
    import pandas as pd
    from trl.data_utils import pack_dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    from emogap.lm.answer_form import load_answer_form
    from emogap.train.rows import encode
    from emogap.train.sft import as_dataset

    records = pd.DataFrame(json.loads((ROOT / "data/sample/alpaca.json").read_text(encoding="utf-8")))
    records["id"] = [str(number) for number in range(len(records))]
    settings = Sft()
    rows = list(encode(records, load_answer_form(settings.template), tokenizer, settings.max_length, "response"))
    real = sum(len(row["input_ids"]) for row in rows)
    shares = {}
    for packing in (False, True):
        dataset = pack_dataset(as_dataset(rows), settings.max_length, "bfd") if packing else as_dataset(rows)
        collate = DataCollatorForLanguageModeling(pad_token_id=tokenizer.eos_token_id, padding_free=packing)
        batches = (dataset.to_list()[at : at + batch_size] for at in range(0, len(dataset), batch_size))
        shares[packing] = real / sum(collate(batch)["input_ids"].numel() for batch in batches)
    return shares
