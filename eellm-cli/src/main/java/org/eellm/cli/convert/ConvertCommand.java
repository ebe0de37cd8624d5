package org.eellm.cli.convert;

import java.util.Optional;
import java.util.concurrent.Callable;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.cli.option.JsonOption;
import org.eellm.convert.ModelReader;
import org.eellm.convert.ModelWriter;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.convert.ModelWriter.Outcome;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code eellm convert}: a model of any layout in, a model folder out. */
@Command(
    name = "convert",
    description =
        "Makes a model folder of a model of any layout: Hugging Face's Llama, Mistral, Qwen2,"
            + " Qwen3, GPT-2 and GPT-NeoX, Megatron's and EE-LLM's.",
    mixinStandardHelpOptions = true)
public final class ConvertCommand implements Callable<Integer> {

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

  @Spec private CommandSpec spec;
  @Mixin private WriteOptions options;
  @Mixin private JsonOption json;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      description =
          "Number format of the weights: float32, bfloat16 or float16; as they are by default.")
  private Optional<Format> format = Optional.empty();

  @Override
  public Integer call() {
    try (SourceModel model = ModelReader.open(options.model())) {
      Outcome outcome =
          ModelWriter.writeModel(
              model,
              options.output(),
              new Options(format.map(Format::type), options.tokenizer()),
              options.listener(System.err));
      options.report(outcome, json, spec.commandLine().getOut(), spec.commandLine().getErr());
      return ExitCode.OK;
    }
  }
}
