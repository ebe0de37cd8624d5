package org.eellm.cli.convert;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Optional;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.config.ModelConfig;
import org.eellm.config.RopeScaling;
import org.eellm.convert.AdapterMerge;
import org.eellm.convert.ModelReader;
import org.eellm.convert.ModelWriter;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.convert.ModelWriter.Outcome;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm convert}: a model of any layout in, a model folder out. */
@Command(
    name = "convert",
    description =
        "Makes a model folder of a model of any layout: Hugging Face's families that"
            + " docs/models.md lists, Megatron's, EE-LLM's and llama.cpp's.")
public final class ConvertCommand extends EellmCommand {

  /** Number formats by the names that configurations use. */
  enum Format {
    FLOAT32(SafetensorsType.F32),
    BFLOAT16(SafetensorsType.BF16),
    FLOAT16(SafetensorsType.F16);

    private final SafetensorsType type;

    Format(SafetensorsType type) {
      this.type = type;
    }

    SafetensorsType type() {
      return type;
    }
  }

  @Mixin private WriteOptions options;
  @Mixin private JsonOption json;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description =
          "Number format of the weights: float32, bfloat16 or float16; as they are by default.")
  private Optional<Format> format = Optional.empty();

  @Option(
      names = "--max-positions",
      paramLabel = "N",
      description =
          "Longest text that the model is to see, in tokens, up to what it was made for, which is"
              + " the default; of LongRoPE what its factors for short texts are for.")
  private Optional<Integer> maxPositions = Optional.empty();

  @Option(
      names = "--adapter",
      paramLabel = "DIR",
      description =
          "Add these low-rank changes to the model's matrices: a folder in PEFT's layout, or the"
              + " output of eellm tune with tune.lora.")
  private Optional<Path> adapter = Optional.empty();

  @Override
  public Integer call() {
    try (SourceModel source = ModelReader.open(options.model())) {
      if (adapter.isEmpty()) {
        return convert(source);
      }
      try (SourceModel merged = AdapterMerge.merge(source, adapter.get())) {
        return convert(merged);
      }
    }
  }

  private int convert(SourceModel source) {
    SourceModel model =
        maxPositions.isPresent() ? source.withMaxPositions(maxPositions.get()) : source;
    sayContext(model);
    Outcome outcome =
        ModelWriter.writeModel(
            model,
            options.output(),
            new Options(format.map(Format::type), options.tokenizer()),
            options.listener(System.err));
    options.report(outcome, json, out(), err());
    return ExitCode.OK;
  }

  /** Says which of a model's two lists of factors are taken, and how to get the other. */
  private void sayContext(SourceModel model) {
    PrintWriter err = err();
    ModelConfig shape = model.architecture().model();
    int made = model.madePositions();
    if (shape.ropeScaling() instanceof RopeScaling.LongRope scaled
        && made > scaled.originalMaxPositions()) {
      boolean forShort = shape.maxPositions() <= scaled.originalMaxPositions();
      err.printf(
          "rope: the factors for %s texts, of up to %d tokens; --max-positions %d takes those"
              + " for %s ones%n",
          forShort ? "short" : "long",
          shape.maxPositions(),
          forShort ? made : scaled.originalMaxPositions(),
          forShort ? "long" : "short");
    }
  }
}
