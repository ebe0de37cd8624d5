package org.eellm.serve;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.DecodingSettings.ThresholdSetting;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.SamplingParams;
import org.eellm.decode.sample.SamplingSetting;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;

/**
 * {@code PUT /api}: the fields of EE-LLM's and Megatron's text generation server, so that their
 * clients work. Unlike there, a field means what it says, whatever its value, and what is wrong has
 * a status that says so.
 */
final class MegatronApi {
  private static final int MAX_PROMPTS = 128;
  private static final int TOKENS = 64;

  /** EE-LLM's default: as a probability never reached, so that no token leaves early. */
  private static final double THRESHOLD = 40;

  private static final long SEED = 1234;

  private MegatronApi() {}

  /** Reads a body. */
  static CompletionRequest read(Fields fields, ServedModel model) {
    fields.refuse("max_len", "is no field any more; use tokens_to_generate");
    fields.refuse("sentences", "is no field any more; use prompts");
    fields.refuse("beam_width", "is not offered: the server searches with no beams; leave it out");
    fields.refuse("length_penalty", "is for beam search, which is not offered; leave it out");
    refuseUnlessZero(fields, "top_p_decay");
    refuseUnlessZero(fields, "top_p_bound");
    if (fields.bool("prevent_newline_after_colon").orElse(false)) {
      throw ApiException.badField(
          "prevent_newline_after_colon", "is not offered; use stop_sequences, or leave it out");
    }
    boolean endFirst = fields.bool("add_BOS").orElse(false);
    List<List<Integer>> prompts = prompts(fields, model, endFirst);
    int tokens = fields.integer("tokens_to_generate", 0, Integer.MAX_VALUE).orElse(TOKENS);
    int room = model.context() - prompts.stream().mapToInt(List::size).max().orElseThrow();
    if (tokens > room || room < 0) {
      throw ApiException.tooLong(
          "tokens_to_generate",
          "%d do not fit the model's context of %d tokens beside a prompt of %d; use %s"
              .formatted(
                  tokens,
                  model.context(),
                  model.context() - room,
                  room < 1 ? "a shorter prompt" : room + " or less"));
    }
    boolean logProbabilities = fields.bool("logprobs").orElse(false) || tokens == 0;
    boolean echo = fields.bool("echo_prompts").orElse(false) || tokens == 0;
    double temperature = fields.number("temperature", 0, 100).orElse(0.0);
    int topK = fields.integer("top_k", 0, 1000).orElse(0);
    double topP = fields.number("top_p", 0, 1).orElse(0.0);
    if (topK > 0 && topP > 0) {
      throw ApiException.badField("top_p", "has no meaning beside top_k; give one of them");
    }
    List<String> stops =
        RequestReader.checkedStops(
            fields.texts("stop_sequences").orElse(List.of()), "stop_sequences");
    DecodingMethod decoding = decoding(fields, model, Math.max(1, tokens));
    boolean perToken = fields.bool("print_max_prob").orElse(false);
    SamplingParams params =
        SamplingParams.AS_PREDICTED
            .with(SamplingSetting.TEMPERATURE, topK == 1 ? 0 : temperature)
            .with(SamplingSetting.TOP_K, topK)
            .with(SamplingSetting.TOP_P, topP == 0 ? 1 : topP);
    long seed = fields.wholeNumber("random_seed").orElse(SEED);
    fields.bool("no_log"); // bodies are never logged
    fields.requireNoOthers();
    return new CompletionRequest(
        model,
        prompts,
        "prompts",
        1,
        tokens,
        decoding,
        drawnFrom -> new RandomSampler(params, drawnFrom),
        seed,
        0,
        logProbabilities,
        echo,
        new StoppingCriteria(model.endTokens(), 0, stops),
        false,
        perToken,
        false,
        false);
  }

  private static void refuseUnlessZero(Fields fields, String field) {
    if (fields.number(field, 0, 1).orElse(0.0) != 0) {
      throw ApiException.badField(field, "is not offered; leave it out, or use a fixed top_p");
    }
  }

  private static List<List<Integer>> prompts(Fields fields, ServedModel model, boolean endFirst) {
    JsonNode given =
        fields
            .get("prompts")
            .orElseThrow(() -> ApiException.badField("prompts", "is missing; give at least one"));
    List<String> texts =
        given.isTextual() ? List.of(given.textValue()) : fields.texts("prompts").orElse(List.of());
    if (texts.isEmpty() || texts.size() > MAX_PROMPTS) {
      throw ApiException.badField(
          "prompts", "has %d texts; give 1..%d".formatted(texts.size(), MAX_PROMPTS));
    }
    List<List<Integer>> prompts = new ArrayList<>();
    for (String text : texts) {
      List<Integer> ids = new ArrayList<>();
      if (endFirst) {
        ids.add(model.tokenizer().endOfDocument());
      }
      ids.addAll(model.prompt(text, "prompts[%d]".formatted(prompts.size())));
      if (ids.isEmpty()) {
        throw ApiException.badField(
            "prompts[%d]".formatted(prompts.size()),
            "is empty; give it a character, or use add_BOS");
      }
      prompts.add(ids);
    }
    return prompts;
  }

  /** Full without {@code use_early_exit}, as there. */
  private static DecodingMethod decoding(Fields fields, ServedModel model, int tokens) {
    Optional<Double> threshold =
        fields.number("early_exit_thres", Double.NEGATIVE_INFINITY, Double.POSITIVE_INFINITY);
    List<Integer> exits =
        fields
            .list("exit_layers", (name, value) -> Fields.integer(name, value, 1, Integer.MAX_VALUE))
            .orElse(List.of());
    if (!fields.bool("use_early_exit").orElse(false)) {
      return DecodingMethod.full();
    }
    DecodingSettings settings =
        DecodingSettings.NONE
            .with(DecodingSetting.THRESHOLD, new ThresholdSetting.Same(threshold.orElse(THRESHOLD)))
            .with(DecodingSetting.EXITS, exits);
    try {
      return settings.decoding(
          model.exits(),
          tokens,
          name ->
              switch (name) {
                case "threshold" -> "early_exit_thres";
                case "exits" -> "exit_layers";
                default -> "use_early_exit";
              });
    } catch (ConfigException e) {
      String message = String.valueOf(e.getMessage());
      String name = message.split("[: ]", 2)[0];
      throw ApiException.badField(name, message.substring(name.length()).replaceFirst("^: ?", ""));
    }
  }

  /** The answer in EE-LLM's shape, with the spelling of its {@code requst_time}. */
  static ObjectNode write(
      CompletionRequest request, Reply reply, ServedModel model, double seconds) {
    ObjectNode root = HttpJson.object();
    ArrayNode texts = root.putArray("text");
    ArrayNode segments = root.putArray("segments");
    for (int i = 0; i < request.allChoices(); i++) {
      ReplyChoice text = reply.text(i);
      texts.add(text.content());
      ArrayNode pieces = segments.addArray();
      IntStream.concat(
              request.echo()
                  ? request.promptOf(i).stream().mapToInt(Integer::intValue)
                  : IntStream.empty(),
              text.tokens().stream().mapToInt(token -> token.token().id()))
          .forEach(id -> pieces.add(model.tokenizer().piece(id)));
    }
    if (request.logProbabilities()) {
      ArrayNode all = root.putArray("logprobs");
      for (int i = 0; i < request.allChoices(); i++) {
        ArrayNode values = all.addArray();
        reply.text(i).logprobs().stream()
            .flatMapToDouble(token -> token.logProbability().stream())
            .forEach(values::add);
      }
    } else {
      root.putNull("logprobs");
    }
    root.put("requst_time", seconds);
    root.set("metrics", reply.metrics());
    if (request.perToken()) {
      ArrayNode all = root.putArray("early_exit");
      for (int i = 0; i < request.allChoices(); i++) {
        all.add(EarlyExitJson.tokens(reply.text(i).tokens(), model.tokenizer()));
      }
    }
    return root;
  }
}
