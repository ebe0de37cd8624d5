package org.eellm.cli;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.SplittableRandom;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigFile;
import org.eellm.data.Progress;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.model.parameter.ParameterSpec;

/**
 * What the launcher runs once after a build, so that Java can keep the classes and what it has
 * learned of them for all starts to come (its ahead-of-time cache, JEP 483 and 515): the help, and
 * texts of a small model with random weights.
 */
final class Rehearsal {
  private static final String TEXT = "the cat and the dog and the bird and the cat and the end\n";
  private static final double LARGEST = 0.1; // weight

  private Rehearsal() {}

  /**
   * @param args a folder for the model, which is there and empty
   */
  public static void main(String[] args) throws IOException {
    Path folder = Path.of(args[0]);
    writeModel(folder);
    run("--help");
    run("generate", "--model", folder.toString(), "--prompt", TEXT, "--max-tokens", "150");
    for (String mode : List.of("full", "early-exit")) {
      run("generate", "--model", folder.toString(), "--prompt", TEXT, "--mode", mode);
    }
  }

  private static void run(String... arguments) {
    int exitCode = Main.run(RootCommand.commandLine(arguments), arguments);
    if (exitCode != 0) {
      System.exit(exitCode);
    }
  }

  private static void writeModel(Path folder) throws IOException {
    Architecture architecture =
        ConfigFile.preset("quickstart", List.of("model.vocab_size=320")).architecture();
    new HuggingFaceConfig(architecture, OptionalInt.empty(), List.of()).write(folder);
    BpeTrainer.train(Corpus.of(List.of(TEXT)), 260, 1, Progress.NONE).save(folder);
    SplittableRandom random = new SplittableRandom(1);
    List<TensorSource> tensors = new ArrayList<>();
    for (ParameterSpec spec : ParameterSpec.of(architecture)) {
      ByteBuffer values = ByteBuffer.allocate(Math.toIntExact(2 * spec.numel()));
      values.order(ByteOrder.LITTLE_ENDIAN);
      while (values.hasRemaining()) {
        float value = (float) random.nextDouble(-LARGEST, LARGEST);
        values.putShort((short) (Float.floatToIntBits(value) >>> Short.SIZE));
      }
      tensors.add(
          TensorSource.of(
              spec.name(),
              SafetensorsType.BF16,
              spec.shape(),
              MemorySegment.ofArray(values.array())));
    }
    SafetensorsWriter.write(folder.resolve("model.safetensors"), Map.of("format", "pt"), tensors);
  }
}
