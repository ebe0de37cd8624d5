package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.Pooling;
import org.eellm.Token;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Commands in a process whose class path has nothing of libtorch or JavaCPP. */
final class WithoutLibtorchTest {
  @TempDir private Path folder;

  private record Outcome(int code, String text) {}

  /** A program that uses eellm as a library. */
  public static final class Program {
    private Program() {}

    public static void main(String[] args) {
      try (EarlyExitModel model = EarlyExitModel.load(Path.of(args[0]))) {
        for (Token token : model.generate("the cat", Decoding.lossless().withMaxTokens(5))) {
          System.out.print(token.layer() + " ");
        }
        System.out.println(model.hiddenState("the cat", 2, Pooling.MEAN).length);
      }
    }
  }

  private Outcome run(String... arguments) throws IOException, InterruptedException {
    return run(Main.class, arguments);
  }

  private Outcome run(Class<?> program, String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
        .filter(option -> option.startsWith("--") || option.startsWith("-XX:"))
        .forEach(command::add);
    command.add("-cp");
    command.add(
        Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
            .filter(entry -> !entry.contains("bytedeco"))
            .collect(Collectors.joining(File.pathSeparator)));
    command.add(program.getName());
    command.addAll(List.of(arguments));
    Path out = folder.resolve("out.txt");
    Process process =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(out.toFile()).start();
    return new Outcome(process.waitFor(), Files.readString(out));
  }

  private Path model() throws IOException {
    Path model = folder.resolve("model");
    ExitLayout everything = new ExitLayout(List.of(1, 2, 4), true, true, true, false);
    try (Decoder decoder = SmallModel.of(everything, DataType.BFLOAT16)) {
      SmallModelFolder.write(model, decoder);
    }
    return model;
  }

  @Test
  void generate_withoutLibtorch_writes() throws Exception {
    Outcome outcome =
        run("generate", "--model", model().toString(), "--prompt", "the cat", "--max-tokens", "5");

    assertThat(outcome.code()).as(outcome.text()).isZero();
    assertThat(outcome.text()).contains("5 tokens in ");
  }

  @Test
  void library_withoutLibtorch_generatesAndReadsHiddenStates() throws Exception {
    Outcome outcome = run(Program.class, model().toString());

    assertThat(outcome.code()).as(outcome.text()).isZero();
    assertThat(outcome.text()).containsPattern("(?m)^([1245] ){5}32$");
  }

  @Test
  void doctor_withoutLibtorch_saysWhereToReadHowToAddIt() throws Exception {
    Outcome outcome = run("doctor", "--seconds", "0.02");

    assertThat(outcome.code()).as(outcome.text()).isZero();
    assertThat(outcome.text())
        .contains(
            "libtorch   none: this eellm decodes on CPUs; docs/operate.md says how to add it\n")
        .doesNotContain("GPU ");
  }

  @Test
  void convert_withoutLibtorch_saysWhatIsMissing() throws Exception {
    Outcome outcome =
        run("convert", "--model", model().toString(), "--output", folder.resolve("x").toString());

    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.text())
        .endsWith(
            "eellm: this needs libtorch, which is not on the class path; add"
                + " org.eellm:eellm-libtorch\n");
  }
}
