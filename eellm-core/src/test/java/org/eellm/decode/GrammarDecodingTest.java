package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.networknt.schema.JsonSchema;
import com.networknt.schema.JsonSchemaFactory;
import com.networknt.schema.SpecVersion.VersionFlag;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitLayout;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.sample.GrammarMasks;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.SamplingParams;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.TokenListener;
import org.eellm.grammar.GrammarSource;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** What a random model writes that is held to grammars. */
@ExtendWith(OneThread.class)
final class GrammarDecodingTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int SCHEMAS = 50;
  private static final int TEXTS = 20; // of each schema
  private static final DecodingMethod DRAFTS = new DecodingMethod.AdaptiveDrafts(DraftSource.BOTH);

  private static Decoder model;
  private static Tokenizer tokenizer;
  private static GrammarMasks masks;
  private static List<Integer> prompt;

  @BeforeAll
  static void prepare(@TempDir Path folder) throws IOException {
    model =
        SmallModel.withContext(new ExitLayout(List.of(1, 2, 4), true, false, false, false), 600);
    Path corpus = folder.resolve("corpus.txt");
    Files.writeString(corpus, "{\"a\": true, \"b\": [false, null]} {\"a\":true,\"b\":[]}\n");
    TextCorpus texts = TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT);
    tokenizer = BpeTrainer.train(texts, SmallModel.VOCABULARY, 1, Progress.NONE);
    masks = new GrammarMasks(tokenizer);
    prompt = IntStream.of(tokenizer.encode("JSON: ")).boxed().toList();
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static Request request(GrammarSource source, long seed, DecodingMethod method) {
    Set<Integer> end = Set.of(tokenizer.endOfDocument());
    SamplingParams params =
        SamplingParams.AS_PREDICTED.withConstraint(masks.constraint(source, end));
    return new Request(prompt, 500, end, method, new RandomSampler(params, seed));
  }

  private static List<Result> generate(List<Request> requests, int batchSize) {
    Limits limits =
        Limits.of(model)
            .withBatchSize(batchSize)
            .withVocabulary(Vocabulary.of(tokenizer.vocabSize()));
    return Generator.generate(model, limits, requests, TokenListener.none());
  }

  private static List<Request> requests(DecodingMethod method) {
    List<Request> requests = new ArrayList<>();
    for (int i = 0; i < SCHEMAS * TEXTS; i++) {
      requests.add(request(new GrammarSource.Schema(schema(i % SCHEMAS)), i, method));
    }
    return requests;
  }

  /** A random schema whose texts are short. */
  private static String schema(int seed) {
    return schema(new Random(seed), 3).toString();
  }

  private static ObjectNode schema(Random random, int depth) {
    ObjectNode schema = JSON.createObjectNode();
    switch (random.nextInt(depth == 0 ? 5 : 8)) {
      case 0 -> schema.put("type", "boolean");
      case 1 -> {
        int least = random.nextInt(300) - 150;
        schema.put("type", "integer");
        schema.put("minimum", least).put("maximum", least + random.nextInt(2000));
      }
      case 2 -> schema.putArray("enum").add("red").add("réd").add(random.nextInt(9)).addNull();
      case 3 -> {
        schema.putArray("type").add("string").add("null");
        schema.put("maxLength", random.nextInt(6));
      }
      case 4 -> schema.put("type", "string").put("pattern", "^[a-f]{2}(-\\d){0,3}$");
      case 5 -> {
        schema.put("type", "array").put("maxItems", random.nextInt(4));
        schema.set("items", schema(random, depth - 1));
      }
      case 6 -> {
        ArrayNode any = schema.putArray("anyOf");
        any.add(schema(random, depth - 1)).add(schema(random, depth - 1));
      }
      default -> {
        schema.put("type", "object").put("additionalProperties", false);
        ObjectNode properties = schema.putObject("properties");
        ArrayNode required = schema.putArray("required");
        for (String name : List.of("a", "b", "some name")) {
          if (random.nextInt(4) > 0) {
            properties.set(name, schema(random, depth - 1));
            if (random.nextBoolean()) {
              required.add(name);
            }
          }
        }
      }
    }
    return schema;
  }

  @Test
  void texts_ofFiftySchemas_areValidAndThoseWithoutDraftsAndAlone() throws IOException {
    List<Result> drafted = generate(requests(DRAFTS), 16);

    int accepted = 0;
    for (int i = 0; i < drafted.size(); i++) {
      String schema = schema(i % SCHEMAS);
      Result result = drafted.get(i);
      assertThat(result.reason()).as("%d: %s", i, schema).isEqualTo(FinishReason.END_TOKEN);
      JsonNode value = JSON.readTree(text(result));
      JsonSchema validator = JsonSchemaFactory.getInstance(VersionFlag.V202012).getSchema(schema);
      assertThat(validator.validate(value)).as("%s for %s", value, schema).isEmpty();
      accepted += result.usage().acceptedTokens();
    }
    assertThat(accepted).isGreaterThan(SCHEMAS * TEXTS); // forced ones among them
    assertThat(ids(generate(requests(DecodingMethod.full()).subList(0, 400), 16)))
        .isEqualTo(ids(drafted).subList(0, 400));
    assertThat(ids(generate(requests(DRAFTS).subList(0, 200), 1)))
        .isEqualTo(ids(drafted).subList(0, 200));
  }

  private static List<List<Integer>> ids(List<Result> results) {
    return results.stream().map(Result::ids).toList();
  }

  private static String text(Result result) {
    int[] ids = result.ids().stream().mapToInt(Integer::intValue).toArray();
    return tokenizer.decode(ids);
  }

  @Test
  void draftOfAnExit_behindWhichOneContinuationIsLeft_goesOnWithIt() {
    GrammarSource source = new GrammarSource.Expression("(red|blue) tomatoes, (red|blue) onions");
    RecordedDrafts drafts = new RecordedDrafts();
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      DecodingMethod single = new DecodingMethod.Speculative(1, new DraftLength.Fixed(1));
      assertThat(engine.submit(request(source, 3, single), drafts)).isPresent();
      Result result = drafts.await();
      assertThat(result.ids())
          .isEqualTo(
              generate(List.of(request(source, 3, DecodingMethod.full())), 1).getFirst().ids());
    }
    assertThat(drafts.all())
        .filteredOn(draft -> draft.exit().isPresent())
        .isNotEmpty()
        .allSatisfy(draft -> assertThat(draft.ids()).hasSizeGreaterThan(1));
  }

  @Test
  void texts_thatLeaveEarly_areOfTheirGrammarToo() {
    DecodingMethod exits =
        new DecodingMethod.EarlyExit(ExitPolicies.maxProbability(Threshold.of(0.05)));
    List<Request> requests = new ArrayList<>();
    for (int seed = 0; seed < 40; seed++) {
      requests.add(
          request(new GrammarSource.Expression("(cat|dog) [0-9]{3}(, a+b)?"), seed, exits));
    }
    assertThat(generate(requests, 8))
        .extracting(GrammarDecodingTest::text)
        .allMatch(text -> text.matches("(cat|dog) [0-9]{3}(, a+b)?"));
  }

  @Test
  void constraint_ofARequestForOtherRanks_isRefused() {
    Request request = request(new GrammarSource.JsonObjects(), 0, DRAFTS);

    assertThatThrownBy(() -> StepMessage.encode(request))
        .isInstanceOf(ConfigException.class)
        .hasMessage("grammar: is offered by models that one process has; leave --tp and --pp out");
  }
}
