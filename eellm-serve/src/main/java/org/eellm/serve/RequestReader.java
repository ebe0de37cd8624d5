package org.eellm.serve;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.LongFunction;
import java.util.random.RandomGenerator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSetting.Kind;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.DecodingSettings.ThresholdSetting;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingParams;
import org.eellm.decode.sample.SamplingSetting;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;

/** Reads the bodies of {@code /v1/completions} and {@code /v1/chat/completions}. */
final class RequestReader {
  /** Continuations of one request, those of all its prompts together. */
  static final int MAX_CHOICES = 128;

  /** Most probable tokens that a request may ask for beside each token. */
  static final int MAX_ALTERNATIVES = 20;

  /** Of each head of a lens by default. */
  private static final int LENS_ALTERNATIVES = 5;

  private static final String CALIBRATED = "calibrated";
  private static final int MAX_STOPS = 16;
  private static final String NO_TOOLS = "is not offered here; use tools of /v1/chat/completions";

  /** Tokens of a completion that does not say, as OpenAI has it. */
  private static final int COMPLETION_TOKENS = 16;

  /** Fields that tell the server who asks, or what to keep: nothing that changes the answer. */
  private static final List<String> IGNORED_FIELDS =
      List.of("user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier");

  private final ServedModel model;
  private final Fields fields;
  private final PromptReader promptReader;

  RequestReader(ServedModel base, Fields fields) {
    model = fields.text("model").map(base::named).orElse(base);
    this.fields = fields;
    promptReader = new PromptReader(model, fields);
  }

  /** The body of {@code /v1/completions}. */
  CompletionRequest completion() {
    List<List<Integer>> prompts = promptReader.all("prompt", MAX_CHOICES);
    boolean echo = fields.bool("echo").orElse(false);
    Optional<Integer> alternatives = fields.integer("logprobs", 0, MAX_ALTERNATIVES);
    int room = room(prompts, "prompt");
    Optional<Integer> maxTokens = maxTokens("max_tokens", echo ? 0 : 1, room);
    if (!fields.text("suffix").orElse("").isEmpty()) {
      throw ApiException.badField(
          "suffix", "is not offered: models here continue texts, they do not fill gaps");
    }
    requireNone("tools", "tool_choice");
    return finish(
        new Prompts(prompts, "prompt", List.of()),
        maxTokens.orElse(Math.min(COMPLETION_TOKENS, room)),
        new Logprobs(alternatives.isPresent(), alternatives.orElse(0)),
        echo,
        ToolFields.NONE);
  }

  /** The body of {@code /v1/chat/completions}. */
  CompletionRequest chat() {
    ToolFields tools = ToolFields.read(fields);
    List<List<Integer>> prompts = List.of(promptReader.chat(tools));
    boolean logProbabilities = fields.bool("logprobs").orElse(false);
    Optional<Integer> alternatives = fields.integer("top_logprobs", 0, MAX_ALTERNATIVES);
    if (alternatives.isPresent() && !logProbabilities) {
      throw ApiException.badField("top_logprobs", "has no effect without logprobs: true");
    }
    int room = room(prompts, "messages");
    IntStream most =
        Stream.of("max_completion_tokens", "max_tokens")
            .flatMap(field -> maxTokens(field, 1, room).stream())
            .mapToInt(Integer::intValue);
    return finish(
        new Prompts(prompts, "messages", model.template().stops()),
        most.min().orElse(room),
        new Logprobs(logProbabilities, alternatives.orElse(0)),
        false,
        tools);
  }

  /** The body of {@code /v1/lens}. */
  Lens lens() {
    List<Integer> prompt = promptReader.one();
    int last = model.tokenizer().vocabSize() - 1;
    List<Integer> continuation =
        fields
            .list("continuation", (name, id) -> Fields.integer(name, id, 0, last))
            .orElse(List.of());
    if (continuation.isEmpty()) {
      throw ApiException.badField(
          "continuation", "is missing or empty; give the ids of the tokens to ask about");
    }
    int top = fields.integer("top", 1, MAX_ALTERNATIVES).orElse(LENS_ALTERNATIVES);
    if (prompt.size() + continuation.size() > model.context()) {
      throw ApiException.tooLong(
          "continuation",
          "%d tokens do not fit the model's context of %d behind a prompt of %d; shorten it"
              .formatted(continuation.size(), model.context(), prompt.size()));
    }
    fields.requireNoOthers();
    return new Lens(model, prompt, continuation, promptReader.param(), top);
  }

  /** The body of {@code /tokenize}: the ids of its prompt. */
  List<Integer> tokenize() {
    List<Integer> prompt = promptReader.one();
    fields.requireNoOthers();
    return prompt;
  }

  /** The body of {@code /detokenize}: the text of its ids. */
  String detokenize() {
    JsonNode tokens =
        fields
            .get("tokens")
            .orElseThrow(() -> ApiException.badField("tokens", "is missing; give a list of ids"));
    int[] ids = promptReader.ids("tokens", tokens).stream().mapToInt(Integer::intValue).toArray();
    fields.requireNoOthers();
    return model.tokenizer().decode(ids);
  }

  /** The body of {@code /v1/embeddings}. */
  Embeddings embeddings() {
    if (model.adapter() > 0) {
      throw ApiException.badField(
          "model",
          "'%s' has an adapter; vectors are of the model as it is".formatted(model.name()));
    }
    List<List<Integer>> inputs = promptReader.all("input", Embeddings.MAX_INPUTS);
    int size = model.architecture().model().hiddenSize();
    if (fields.integer("dimensions", 1, Integer.MAX_VALUE).orElse(size) != size) {
      throw ApiException.badField(
          "dimensions",
          "is not offered: vectors have the model's %d numbers; leave it out".formatted(size));
    }
    int layer = fields.integer("layer", 1, model.layers()).orElse(model.layers());
    Embeddings.Pooling pooling =
        fields
            .choice("pooling", List.of(Embeddings.Pooling.values()))
            .orElse(Embeddings.Pooling.MEAN);
    Embeddings.Form form =
        fields
            .choice("encoding_format", List.of(Embeddings.Form.values()))
            .orElse(Embeddings.Form.FLOAT);
    IGNORED_FIELDS.forEach(fields::get);
    fields.requireNoOthers();
    return new Embeddings(model, inputs, layer, pooling, form);
  }

  /** Fields that common clients send with the value that changes nothing; others are refused. */
  private void requireNeutral(int choices) {
    if (fields.integer("best_of", 1, MAX_CHOICES).orElse(choices) != choices) {
      throw ApiException.badField(
          "best_of", "is not offered; use n, and choose among the continuations");
    }
    if (!fields.bool("skip_special_tokens").orElse(true)) {
      throw ApiException.badField(
          "skip_special_tokens", "false is not offered: special tokens are no part of a text");
    }
    requireNone("functions", "function_call");
  }

  /** Refuses tools where they are not offered, but not the absence of any. */
  private void requireNone(String tools, String choice) {
    if (fields.get(tools).filter(given -> !given.isArray() || !given.isEmpty()).isPresent()) {
      throw ApiException.badField(tools, NO_TOOLS);
    }
    if (fields.get(choice).filter(given -> !given.asText().equals("none")).isPresent()) {
      throw ApiException.badField(choice, NO_TOOLS);
    }
  }

  /**
   * Prompts.
   *
   * @param param the field that they come from
   * @param stops texts that end what follows them
   */
  private record Prompts(List<List<Integer>> ids, String param, List<String> stops) {}

  /**
   * The log probabilities that are asked for.
   *
   * @param wanted whether anything is
   * @param alternatives how many of the most probable tokens beside it
   */
  private record Logprobs(boolean wanted, int alternatives) {}

  /** Reads the fields that both bodies have. */
  private CompletionRequest finish(
      Prompts prompts, int maxTokens, Logprobs logprobs, boolean echo, ToolFields tools) {
    int choices = fields.integer("n", 1, MAX_CHOICES).orElse(1);
    if (prompts.ids().size() * choices > MAX_CHOICES) {
      throw ApiException.badField(
          "n",
          "%d continuations of %d prompts are more than the %d of one request; send several"
              .formatted(choices, prompts.ids().size(), MAX_CHOICES));
    }
    requireNeutral(choices);
    Optional<Fields> earlyExit = fields.fields("early_exit");
    boolean perToken = earlyExit.flatMap(inner -> inner.bool("per_token")).orElse(false);
    int writable = Math.max(1, maxTokens);
    DecodingMethod decoding =
        earlyExit
            .map(this::settings)
            .filter(own -> !own.equals(DecodingSettings.NONE)) // just per_token says nothing of it
            .map(own -> ownDecoding(own, writable))
            .orElseGet(() -> serversDecoding(writable));
    List<String> stops = new ArrayList<>(stops());
    stops.addAll(prompts.stops());
    boolean stream = fields.bool("stream").orElse(false);
    boolean streamUsage = streamUsage(stream);
    StoppingCriteria stopping = StoppingCriteria.read(fields, model, maxTokens, stops);
    LongFunction<Sampler> sampler = sampler(stopping, tools);
    long seed = fields.wholeNumber("seed").orElseGet(() -> RandomGenerator.getDefault().nextLong());
    IGNORED_FIELDS.forEach(fields::get);
    fields.requireNoOthers();
    return new CompletionRequest(
        model,
        prompts.ids(),
        prompts.param(),
        choices,
        maxTokens,
        decoding,
        sampler,
        seed,
        logprobs.alternatives(),
        logprobs.wanted(),
        echo,
        stopping,
        !tools.choice().tools().isEmpty(),
        perToken,
        stream,
        streamUsage);
  }

  private boolean streamUsage(boolean stream) {
    Optional<Fields> options = fields.fields("stream_options");
    if (options.isPresent() && !stream) {
      throw ApiException.badField("stream_options", "has no effect without stream: true");
    }
    boolean usage = options.flatMap(inner -> inner.bool("include_usage")).orElse(false);
    options.ifPresent(Fields::requireNoOthers);
    return usage;
  }

  /** {@code stop}: a text or a list of them. */
  private List<String> stops() {
    List<String> stops =
        fields.get("stop").filter(JsonNode::isTextual).isPresent()
            ? List.of(fields.text("stop").orElseThrow())
            : fields.texts("stop").orElse(List.of());
    return checkedStops(stops, "stop");
  }

  static List<String> checkedStops(List<String> stops, String param) {
    if (stops.contains("")) {
      throw ApiException.badField(param, "is empty; give the text at which to stop");
    }
    if (stops.size() > MAX_STOPS) {
      throw ApiException.badField(
          param, "%d texts are more than %d".formatted(stops.size(), MAX_STOPS));
    }
    return stops;
  }

  /** Tokens that may follow the longest prompt: one at least, which needs no place. */
  private int room(List<List<Integer>> prompts, String param) {
    int longest = prompts.stream().mapToInt(List::size).max().orElseThrow();
    if (longest > model.context()) {
      throw ApiException.tooLong(
          param,
          "%d tokens do not fit the model's context of %d; shorten it"
              .formatted(longest, model.context()));
    }
    return Math.max(1, model.context() - longest);
  }

  private Optional<Integer> maxTokens(String field, int least, int room) {
    Optional<Integer> maxTokens = fields.integer(field, least, Integer.MAX_VALUE);
    if (maxTokens.orElse(0) > room) {
      throw ApiException.tooLong(
          field,
          "%d do not fit the model's context of %d tokens behind this prompt; use %d or less, or a shorter prompt"
              .formatted(maxTokens.orElseThrow(), model.context(), room));
    }
    return maxTokens;
  }

  /** The fields that say how tokens are drawn. */
  private LongFunction<Sampler> sampler(StoppingCriteria stopping, ToolFields tools) {
    SamplingParams said = model.sampling().over(SamplingParams.AS_PREDICTED);
    for (SamplingSetting setting : SamplingSetting.values()) {
      Optional<Double> value = number(setting);
      if (value.isPresent()) {
        said = said.with(setting, value.get());
      }
    }
    SamplingParams free =
        said.withLogitBias(bias(fields, model)).withMinTokens(stopping.minTokens());
    SamplingParams params =
        GrammarFields.read(fields, model, tools, stopping.tokens())
            .map(free::withConstraint)
            .orElse(free);
    return seed -> new RandomSampler(params, seed);
  }

  private Optional<Double> number(SamplingSetting setting) {
    SamplingSetting.Range range = setting.range();
    return range.whole()
        ? fields
            .integer(setting.field(), (int) range.least(), (int) range.most())
            .map(value -> (double) Math.max(0, value))
        : fields.number(setting.field(), range.least(), range.most());
  }

  private static Map<Integer, Double> bias(Fields fields, ServedModel model) {
    Map<Integer, Double> bias = new HashMap<>();
    fields
        .get("logit_bias")
        .ifPresent(
            value -> {
              String name = fields.name("logit_bias");
              if (!value.isObject()) {
                throw Fields.wrong(name, value, "an object of token ids and numbers");
              }
              for (Map.Entry<String, JsonNode> entry : value.properties()) {
                int id = key(name, entry.getKey(), model.tokenizer().vocabSize() - 1);
                String field = name + "." + entry.getKey();
                if (bias.put(id, Fields.number(field, entry.getValue(), -100, 100)) != null) {
                  throw ApiException.badField(
                      field, "token %d has a bias already; give each once".formatted(id));
                }
              }
            });
    return bias;
  }

  private static int key(String name, String key, int last) {
    if (!key.matches("[0-9]{1,9}") || Integer.parseInt(key) > last) {
      throw ApiException.badField(
          name, "'%s' is no token id; use 0..%d".formatted(Fields.shown(key), last));
    }
    return Integer.parseInt(key);
  }

  private DecodingMethod ownDecoding(DecodingSettings own, int maxTokens) {
    try {
      return model.model().settings(own).decoding(model.exits(), maxTokens, RequestReader::param);
    } catch (ConfigException e) {
      throw wrongSetting(e);
    }
  }

  private DecodingMethod serversDecoding(int maxTokens) {
    return model.defaults().decoding(model.exits(), maxTokens, name -> "--" + name);
  }

  /** The field of a setting of decoding. */
  static String param(String setting) {
    boolean isCalibration = setting.equals(DecodingSetting.CALIBRATION.name());
    return "early_exit." + (isCalibration ? CALIBRATED : setting.replace('-', '_'));
  }

  /** A setting's message as the refusal of a field. */
  private static ApiException wrongSetting(ConfigException e) {
    String message = String.valueOf(e.getMessage());
    int end = message.indexOf(' ');
    String first = message.substring(0, end);
    String param = first.endsWith(":") ? first.substring(0, first.length() - 1) : first;
    return ApiException.badField(param, message.substring(end + 1));
  }

  private DecodingSettings settings(Fields fields) {
    DecodingSettings settings = DecodingSettings.NONE;
    Optional<Boolean> calibrated = fields.bool(CALIBRATED);
    if (calibrated.isPresent()) {
      if (!calibrated.get()) {
        throw ApiException.badField(
            param(CALIBRATED), "can only be true; give a policy and a threshold, or leave it out");
      }
      Calibration own =
          model
              .model()
              .calibration()
              .orElseThrow(
                  () ->
                      ApiException.badField(
                          param(CALIBRATED),
                          "this model has no calibration; make one with eellm calibrate"));
      settings = settings.with(DecodingSetting.CALIBRATION, own);
    }
    for (DecodingSetting<?> setting : DecodingSetting.all()) {
      if (setting.isRequestable()) {
        Optional<?> value = value(fields, setting.field(), setting.kind(), settings);
        settings = value.isPresent() ? settings.withValue(setting, value.orElseThrow()) : settings;
      }
    }
    fields.requireNoOthers();
    return settings;
  }

  /**
   * @param before what the settings before it in the table say
   */
  private static Optional<?> value(
      Fields fields, String field, Kind kind, DecodingSettings before) {
    return switch (kind) {
      case Kind.Choice(List<? extends Enum<?>> values) -> fields.choice(field, values);
      case Kind.WholeNumber(int least, int most) -> fields.integer(field, least, most);
      case Kind.RealNumber(double least, double most) -> fields.number(field, least, most);
      case Kind.Layers _ ->
          fields.list(field, (name, value) -> Fields.integer(name, value, 1, Integer.MAX_VALUE));
      case Kind.Thresholds _ -> {
        PolicyName policy = before.get(DecodingSetting.POLICY).orElse(PolicyName.MAX_PROBABILITY);
        yield threshold(fields, policy.comparesConfidence() ? 1 : Double.MAX_VALUE);
      }
      case Kind.CalibrationFile _ -> throw new IllegalArgumentException(field);
    };
  }

  /** A number, or an object with one for each exit. */
  private static Optional<ThresholdSetting> threshold(Fields fields, double most) {
    return fields
        .get("threshold")
        .map(
            value -> {
              String name = fields.name("threshold");
              if (!value.isObject()) {
                return new ThresholdSetting.Same(Fields.number(name, value, 0, most));
              }
              SortedMap<Integer, Double> byLayer = new TreeMap<>();
              value
                  .properties()
                  .forEach(
                      entry ->
                          byLayer.put(
                              key(name, entry.getKey(), 999_999_999),
                              Fields.number(
                                  name + "." + entry.getKey(), entry.getValue(), 0, most)));
              return new ThresholdSetting.PerLayer(byLayer);
            });
  }
}
