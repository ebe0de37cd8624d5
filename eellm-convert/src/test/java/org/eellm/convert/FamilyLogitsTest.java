package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import org.eellm.SavedModel;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.TrainConfig.Device;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.decode.Generator;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** What models of all families compute, beside PyTorch in float64. */
final class FamilyLogitsTest {
  static final int GREEDY = 24;

  static final List<String> NAMES = FamiliesTest.NAMES;

  @TempDir private Path folder;

  /** A text and the logits that follow each of its tokens. */
  private record Expected(long[] ids, float[] logits) {
    static Expected of(Path theirs, String name) {
      try (SafetensorsFile file = SafetensorsFile.open(theirs.resolve("expected.safetensors"))) {
        float[] logits = file.tensor(name).bytes().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
        long[] ids = file.tensor("ids").bytes().toArray(ValueLayout.JAVA_LONG_UNALIGNED);
        int count = Math.toIntExact(file.tensor(name).shape().getFirst());
        return new Expected(Arrays.copyOf(ids, count), logits);
      }
    }

    List<Integer> tokens() {
      return Arrays.stream(ids).mapToObj(Math::toIntExact).toList();
    }
  }

  /** Of a model for short texts and for long ones, the latter. */
  private Path forLongTexts(String name) {
    Path theirs = FamiliesTest.theirs(name);
    if (!name.equals("phi4_mini")) {
      return theirs;
    }
    try (SourceModel model = ModelReader.open(theirs)) {
      return write(model.withMaxPositions(64), "long");
    }
  }

  private Path write(SourceModel model, String to) {
    ModelWriter.writeModel(model, folder.resolve(to), Options.asItIs(), (done, total) -> {});
    return folder.resolve(to);
  }

  /** A text of which PyTorch wrote the last {@link #GREEDY} tokens. */
  static List<Integer> text(Path theirs) {
    return Expected.of(theirs, "final").tokens();
  }

  private static Architecture wide(Path model) {
    return wide(new ModelFolder(model, Optional.empty()));
  }

  private static Architecture wide(ModelFolder files) {
    Architecture stored = files.config().architecture();
    return new Architecture(stored.model().withDtype(DataType.FLOAT32), stored.exits());
  }

  private static void assertLogits(Path model, Expected expected) {
    try (Decoder decoder = SavedModel.readWeights(model, wide(model), Torch.cpu())) {
      float[] ours = Layouts.logits(decoder, expected.ids).get("final");
      assertThat(logProbabilities(Objects.requireNonNull(ours)))
          .usingComparatorWithPrecision(1e-4f)
          .containsExactly(logProbabilities(expected.logits));
    }
  }

  private static float[] logProbabilities(float[] logits) {
    int vocabulary = 48;
    float[] all = new float[logits.length];
    for (int row = 0; row < logits.length; row += vocabulary) {
      double sum = 0;
      for (int i = row; i < row + vocabulary; i++) {
        sum += Math.exp(logits[i]);
      }
      for (int i = row; i < row + vocabulary; i++) {
        all[i] = (float) (logits[i] - Math.log(sum));
      }
    }
    return all;
  }

  @ParameterizedTest
  @FieldSource("NAMES")
  void forward_theirFolder_computesWhatPyTorchComputes(String name) {
    assertLogits(forLongTexts(name), Expected.of(FamiliesTest.theirs(name), "final"));
    if (name.equals("phi4_mini")) {
      assertLogits(FamiliesTest.theirs(name), Expected.of(FamiliesTest.theirs(name), "short"));
    }
  }

  /** Longer than any window, by own kernels. */
  @ParameterizedTest
  @FieldSource("NAMES")
  void generate_theirFolder_writesPyTorchsTokens(String name) {
    List<Integer> text = text(FamiliesTest.theirs(name));
    assertThat(greedy(forLongTexts(name), text, DecodingMethod.full()))
        .isEqualTo(text.subList(text.size() - GREEDY, text.size()));
  }

  @ParameterizedTest
  @FieldSource("NAMES")
  void generate_withExitsLosslessly_writesPyTorchsTokens(String name) {
    List<Integer> text = text(FamiliesTest.theirs(name));
    Path model;
    try (SourceModel source = ModelReader.open(forLongTexts(name))) {
      ExitLayout exits = new ExitLayout(List.of(1, 2), true, false, true, false);
      model = write(FamiliesTest.withExits(source, exits), "exits");
    }
    assertThat(greedy(model, text, DecodingMethod.lossless()))
        .isEqualTo(text.subList(text.size() - GREEDY, text.size()));
  }

  /** Texts of all lengths beside each other, some of which leave early. */
  @ParameterizedTest
  @FieldSource("NAMES")
  void generate_inABatch_writesEachTextAsAlone(String name) {
    List<Integer> text = text(FamiliesTest.theirs(name));
    Path model;
    try (SourceModel source = ModelReader.open(forLongTexts(name))) {
      ExitLayout exits = new ExitLayout(List.of(1, 2), true, true, false, false);
      model = write(FamiliesTest.withExits(source, exits), "exits");
    }
    List<Request> requests = new ArrayList<>();
    for (int i = 1; i < 8; i++) {
      DecodingMethod method =
          switch (i % 3) {
            case 0 -> DecodingMethod.full();
            case 1 -> DecodingMethod.lossless();
            default -> new DecodingMethod.EarlyExit(ExitPolicies.fixed(1 + i % 2));
          };
      requests.add(new Request(text.subList(0, 2 * i), 12, Set.of(), method, Sampler.greedy()));
    }
    ModelFolder files = new ModelFolder(model, Optional.empty());
    List<List<Integer>> alone =
        requests.stream().flatMap(request -> ids(files, List.of(request)).stream()).toList();
    assertThat(ids(files, requests)).isEqualTo(alone);
  }

  private static List<List<Integer>> ids(ModelFolder files, List<Request> requests) {
    try (DecodingModel decoder = files.decoder(wide(files), Device.CPU, MatrixQuantization.NONE)) {
      return Generator.generate(decoder, Limits.of(decoder), requests, TokenListener.none())
          .stream()
          .map(Result::ids)
          .toList();
    }
  }

  private static List<Integer> greedy(Path model, List<Integer> text, DecodingMethod method) {
    return greedy(new ModelFolder(model, Optional.empty()), text, method);
  }

  /** What a model writes behind a text without its last {@link #GREEDY} tokens. */
  static List<Integer> greedy(ModelFolder files, List<Integer> text, DecodingMethod method) {
    List<Integer> prompt = text.subList(0, text.size() - GREEDY);
    Request request = new Request(prompt, GREEDY, Set.of(), method, Sampler.greedy());
    try (DecodingModel decoder = files.decoder(wide(files), Device.CPU, MatrixQuantization.NONE)) {
      return Generator.generate(decoder, Limits.of(decoder), List.of(request), TokenListener.none())
          .getFirst()
          .ids();
    }
  }
}
