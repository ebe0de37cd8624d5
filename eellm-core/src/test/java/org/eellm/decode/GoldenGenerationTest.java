package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Generation against an oracle that runs the whole prefix through the whole model each time. */
@ExtendWith(OneThread.class)
public final class GoldenGenerationTest {
  static final List<String> CASES = GoldenCase.NAMES;

  @ParameterizedTest
  @FieldSource("CASES")
  void generate_onePromptAtATime_givesTheOraclesTokensAndExits(String name) {
    GoldenCase golden = GoldenCase.named(name);
    try (Decoder model = golden.model()) {
      for (JsonNode expected : golden.expected().get("generation").get("early_exit")) {
        List<Request> requests = requests(golden, expected.get("threshold").asDouble());
        for (int i = 0; i < requests.size(); i++) {
          List<Result> results =
              Generator.generate(
                  model, Limits.of(model), List.of(requests.get(i)), TokenListener.none());

          assertEqual(golden, results.getFirst(), expected.get("runs").get(i));
        }
      }
    }
  }

  @Tag("vectors")
  @ParameterizedTest
  @FieldSource("CASES")
  void generate_promptsTogetherAndAnyBoundOnWaitingRows_givesTheSame(String name) {
    GoldenCase golden = GoldenCase.named(name);
    try (Decoder model = golden.model()) {
      for (JsonNode expected : golden.expected().get("generation").get("early_exit")) {
        for (int maxPending : new int[] {1, 4, 1000}) {
          List<Result> results =
              Generator.generate(
                  model,
                  Limits.of(model).withMaxPending(maxPending),
                  requests(golden, expected.get("threshold").asDouble()),
                  TokenListener.none());

          for (int i = 0; i < results.size(); i++) {
            assertEqual(golden, results.get(i), expected.get("runs").get(i));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @FieldSource("CASES")
  void generate_recomputing_givesTheOraclesTokensAndExits(String name) {
    GoldenCase golden = GoldenCase.named(name);
    try (Decoder model = golden.model()) {
      for (JsonNode expected : golden.expected().get("generation").get("early_exit")) {
        for (int maxPending : new int[] {4, 1000}) {
          List<Result> results =
              Generator.generate(
                  model,
                  Limits.of(model).withMaxPending(maxPending),
                  requests(
                      golden,
                      new DecodingMethod.Recompute(
                          ExitPolicies.maxProbability(
                              Threshold.of(expected.get("threshold").asDouble())))),
                  TokenListener.none());

          for (int i = 0; i < results.size(); i++) {
            assertEqual(golden, results.get(i), expected.get("runs").get(i));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @FieldSource("CASES")
  void generate_draftsOfEveryExit_isGreedy(String name) {
    GoldenCase golden = GoldenCase.named(name);
    try (Decoder model = golden.model()) {
      int last = model.architecture().model().numLayers();
      for (int layer : model.architecture().exits().layers()) {
        if (layer == last) {
          continue; // drafts no faster than the full model, and is refused
        }
        for (DraftLength length :
            List.of(
                new DraftLength.Fixed(1),
                new DraftLength.Fixed(5),
                new DraftLength.Adaptive(8, 0.2))) {
          List<Result> results =
              Generator.generate(
                  model,
                  Limits.of(model),
                  requests(golden, new DecodingMethod.Speculative(layer, length)),
                  TokenListener.none());

          assertGreedy(golden, results);
        }
      }
    }
  }

  @ParameterizedTest
  @FieldSource("CASES")
  void generate_fullModel_isGreedy(String name) {
    GoldenCase golden = GoldenCase.named(name);
    try (Decoder model = golden.model()) {
      assertGreedy(
          golden,
          Generator.generate(
              model,
              Limits.of(model),
              requests(golden, DecodingMethod.full()),
              TokenListener.none()));
    }
  }

  private static void assertGreedy(GoldenCase golden, List<Result> results) {
    for (int i = 0; i < results.size(); i++) {
      assertThat(results.get(i).ids())
          .isEqualTo(ints(golden.expected().get("generation").get("greedy").get(i)));
      assertThat(results.get(i).tokens()).allMatch(token -> token.head().equals(HeadId.FINAL));
    }
  }

  @Tag("vectors")
  @ParameterizedTest
  @FieldSource("CASES")
  void predictions_ofEveryHeadAtEveryPosition_areTheOraclesLogits(String name) {
    GoldenCase golden = GoldenCase.named(name);
    int vocabulary = golden.architecture().model().vocabSize();
    try (Decoder model = golden.model()) {
      var sequence = golden.inputs().getFirst();
      List<Integer> tokens =
          IntStream.range(0, sequence.sequence()).map(i -> sequence.inputs()[i]).boxed().toList();
      Map<HeadId, List<float[]>> logits = new TreeMap<>();
      // Reads a known text token by token: nobody leaves early, and all heads are heard.
      ExitPolicy listen =
          prediction -> {
            logits
                .computeIfAbsent(prediction.head().id(), absent -> new ArrayList<>())
                .add(prediction.logits());
            return false;
          };
      Sampler read =
          prediction -> {
            listen.leaves(prediction);
            return prediction.position() < tokens.size() ? tokens.get(prediction.position()) : 0;
          };

      Generator.generate(
          model,
          Limits.of(model),
          List.of(new Request(tokens.subList(0, 3), tokens.size() - 2, Set.of(), listen, read)),
          TokenListener.none());

      assertThat(logits).hasSize(model.heads().size());
      var expected = golden.tensors("expected.safetensors");
      logits.forEach(
          (head, rows) -> {
            float[] all = GoldenCase.floats(expected.get("logits." + GoldenCase.oracleName(head)));
            assertThat(rows).hasSize(tokens.size() - 2);
            for (int row = 0; row < rows.size(); row++) {
              float[] ours = rows.get(row);
              for (int id = 0; id < vocabulary; id++) {
                assertThat(ours[id])
                    .as("%s, position %d, id %d", head, row + 2, id)
                    .isCloseTo(
                        all[(row + 2) * vocabulary + id],
                        within((float) golden.tolerance("logits_absolute")));
              }
            }
          });
    }
  }

  public static void assertEqual(GoldenCase golden, Result result, JsonNode expected) {
    assertThat(result.ids()).isEqualTo(ints(expected.get("ids")));
    assertThat(result.tokens().stream().map(GeneratedToken::layer).toList())
        .isEqualTo(ints(expected.get("exit_layers")));
    assertThat(result.tokens().stream().map(token -> GoldenCase.oracleName(token.head())).toList())
        .isEqualTo(
            StreamSupport.stream(expected.get("heads").spliterator(), false)
                .map(JsonNode::asText)
                .toList());
    double[] confidences = GoldenCase.doubles(expected.get("confidences"));
    for (int i = 0; i < confidences.length; i++) {
      assertThat(result.tokens().get(i).confidence())
          .isCloseTo(confidences[i], within(golden.tolerance("confidence_absolute")));
    }
  }

  public static List<Request> requests(GoldenCase golden, double threshold) {
    return requests(
        golden, new DecodingMethod.EarlyExit(ExitPolicies.maxProbability(Threshold.of(threshold))));
  }

  private static List<Request> requests(GoldenCase golden, DecodingMethod decoding) {
    return prompts(golden).stream()
        .map(prompt -> new Request(prompt, newTokens(golden), Set.of(), decoding, Sampler.greedy()))
        .toList();
  }

  private static int newTokens(GoldenCase golden) {
    return golden.expected().get("generation").get("new_tokens").asInt();
  }

  private static List<List<Integer>> prompts(GoldenCase golden) {
    return Stream.of(golden.expected().get("generation").get("prompts"))
        .flatMap(array -> StreamSupport.stream(array.spliterator(), false))
        .map(GoldenGenerationTest::ints)
        .toList();
  }

  private static List<Integer> ints(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).map(JsonNode::asInt).toList();
  }
}
