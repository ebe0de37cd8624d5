package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.checkpoint.Mapped;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.golden.GoldenCase;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/**
 * Damages files of models of six layouts at random, from a fixed seed: reading them ends in a model
 * or in one line, and without a crash.
 */
@Timeout(600) // none is read without end
final class ModelFuzzTest {
  /** What numbers in texts are replaced with. */
  private static final List<String> NUMBERS =
      List.of("0", "-1", "1", "2147483647", "2147483648", "9223372036854775807", "1e999", "null");

  @TempDir private Path folder;

  static final List<String> MODELS =
      List.of(
          "golden/llama_mlp_norm",
          "exported/llama_mlp_norm",
          "layouts/gpt2",
          "layouts/gpt_neox",
          "layouts/megatron_tp2_pp2",
          "layouts/megatron_tp1_pp2");

  @ParameterizedTest
  @FieldSource("MODELS")
  void open_damagedFiles_endsInAModelOrOneLine(String name) throws IOException {
    assertDamageIsRefused(name, 20260701, 100);
  }

  @Tag("slow")
  @ParameterizedTest
  @FieldSource("MODELS")
  void open_oftenDamagedFiles_endsInAModelOrOneLine(String name) throws IOException {
    assertDamageIsRefused(name, 20260702, 1500);
  }

  private void assertDamageIsRefused(String name, long seed, int times) throws IOException {
    Path model = folder.resolve("model");
    String kind = name.substring(0, name.indexOf('/'));
    String what = name.substring(kind.length() + 1);
    switch (kind) {
      case "golden" -> ModelReaderTest.copy(GoldenCase.named(what).folder(), model);
      case "layouts" -> ModelReaderTest.copy(Layouts.folder(what), model);
      default -> { // exits in files beside the trunk's
        try (SourceModel source = ModelReader.open(GoldenCase.named(what).folder())) {
          ModelWriter.writeHuggingFace(source, model, Options.asItIs(), (done, total) -> {});
        }
      }
    }
    List<Path> files;
    try (Stream<Path> all = Files.walk(model)) {
      files =
          all.filter(Files::isRegularFile)
              .filter(file -> !file.getFileName().toString().matches("expected.*|inputs.*"))
              .sorted()
              .toList();
    }
    Random random = new Random(seed);
    int refused = 0;
    for (int time = 0; time < times; time++) {
      Path file = files.get(random.nextInt(files.size()));
      byte[] whole = Files.readAllBytes(file);
      Files.write(file, damage(whole, random));
      refused += open(model) ? 0 : 1;
      Files.write(file, whole);
    }
    Mapped.assertNothingOf(model);
    assertThat(refused).isGreaterThan(20);
    assertThatCode(() -> ModelReader.open(model).close()).doesNotThrowAnyException();
  }

  /** Whether a model is read rather than refused. */
  private static boolean open(Path model) {
    try (SourceModel source = ModelReader.open(model)) {
      Inspection.of(source);
      source.tensors().getFirst().notFinite();
      source.tensors().getLast().notFinite();
      return true;
    } catch (CheckpointException refused) {
      assertThat(refused.getMessage()).isNotBlank().doesNotContain("\n").hasSizeLessThan(2000);
      return false;
    }
  }

  private static byte[] damage(byte[] whole, Random random) {
    byte[] bytes = whole.clone();
    switch (random.nextInt(6)) {
      case 0 -> { // a few bytes, most of them where the structure is
        for (int n = 1 + random.nextInt(4); n > 0; n--) {
          bytes[place(bytes, random)] = (byte) random.nextInt(256);
        }
      }
      case 1 -> bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length));
      case 2 -> { // a bit
        bytes[place(bytes, random)] ^= (byte) (1 << random.nextInt(8));
      }
      case 3 -> { // a piece twice, or missing
        int from = place(bytes, random);
        int length = Math.min(bytes.length - from, 1 + random.nextInt(64));
        List<byte[]> parts = new ArrayList<>();
        parts.add(Arrays.copyOf(bytes, from));
        if (random.nextBoolean()) {
          parts.add(Arrays.copyOfRange(bytes, from, from + length));
          parts.add(Arrays.copyOfRange(bytes, from, from + length));
        }
        parts.add(Arrays.copyOfRange(bytes, from + length, bytes.length));
        bytes = join(parts);
      }
      case 4 -> { // extreme values where lengths may be
        int at = place(bytes, random);
        byte fill = random.nextBoolean() ? (byte) 0xff : (byte) 0x7f;
        Arrays.fill(bytes, at, Math.min(bytes.length, at + 1 + random.nextInt(8)), fill);
      }
      default -> { // a number of a text
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        List<int[]> numbers = new ArrayList<>();
        Matcher matcher =
            Pattern.compile("\\b\\d+\\b").matcher(text.substring(0, Math.min(text.length(), 8192)));
        while (matcher.find()) {
          numbers.add(new int[] {matcher.start(), matcher.end()});
        }
        if (!numbers.isEmpty()) {
          int[] place = numbers.get(random.nextInt(numbers.size()));
          String other = NUMBERS.get(random.nextInt(NUMBERS.size()));
          bytes =
              (text.substring(0, place[0]) + other + text.substring(place[1]))
                  .getBytes(StandardCharsets.ISO_8859_1);
        }
      }
    }
    return bytes;
  }

  /** Headers, pickles and a zip's directory lie at a file's beginning and end. */
  private static int place(byte[] bytes, Random random) {
    int window = Math.min(bytes.length, 4096);
    return switch (random.nextInt(3)) {
      case 0 -> random.nextInt(bytes.length);
      case 1 -> random.nextInt(window);
      default -> bytes.length - 1 - random.nextInt(window);
    };
  }

  private static byte[] join(List<byte[]> parts) {
    byte[] all = new byte[parts.stream().mapToInt(part -> part.length).sum()];
    int at = 0;
    for (byte[] part : parts) {
      System.arraycopy(part, 0, all, at, part.length);
      at += part.length;
    }
    return all;
  }
}
