package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Collectors;
import org.eellm.chat.tool.ToolReader;
import org.eellm.chat.tool.ToolReader.Part;
import org.eellm.decode.request.Result;
import org.eellm.serve.GenerationStream.Event;
import org.eellm.serve.json.HttpJson;

/** A reply being generated: its texts, and the JSON that they become. */
final class Reply {
  private final OpenAiFormat format;
  private final CompletionRequest request;
  private final ServedModel model;
  private final String id;
  private final long created = System.currentTimeMillis() / 1000;
  private final long start;
  private final List<ReplyChoice> texts = new ArrayList<>();
  private final Set<Integer> begun = new HashSet<>();

  /**
   * @param start {@link System#nanoTime} of the request
   */
  Reply(OpenAiFormat format, CompletionRequest request, long start) {
    this.format = format;
    this.request = request;
    model = request.model();
    this.start = start;
    id = format.idPrefix() + UUID.randomUUID().toString().replace("-", "");
    for (int i = 0; i < request.allChoices(); i++) {
      texts.add(new ReplyChoice(request, request.promptOf(i)));
    }
  }

  ReplyChoice text(int choice) {
    return texts.get(choice);
  }

  /** All texts at once. */
  ObjectNode whole() {
    ObjectNode root = root(false);
    ArrayNode choices = root.putArray("choices");
    for (int i = 0; i < texts.size(); i++) {
      ReplyChoice text = texts.get(i);
      ObjectNode choice = choices.addObject();
      choice.put("index", i);
      ToolReader.Answer answer = ToolReader.Answer.of(text.parts(text.content(), true));
      format.putText(choice, answer.text());
      if (!answer.calls().isEmpty()) {
        ToolJson.putCalls((ObjectNode) choice.path("message"), answer.calls());
      }
      putDetails(choice, text.logprobs(), text.tokens());
      putDrafts(choice, text);
      choice.put("finish_reason", text.finishReason());
    }
    root.set("usage", usage());
    root.set("metrics", metrics());
    return root;
  }

  /** A part of a text, with the tokens it came by. */
  ObjectNode part(int index, String piece, List<TokenLogprob> logprobs, List<Event.Token> tokens) {
    return part(index, texts.get(index).parts(piece, false), logprobs, tokens);
  }

  private ObjectNode part(
      int index, List<Part> parts, List<TokenLogprob> logprobs, List<Event.Token> tokens) {
    ObjectNode root = root(true);
    ObjectNode choice = root.putArray("choices").addObject();
    choice.put("index", index);
    format.putPiece(choice, text(parts), begun.add(index));
    if (request.mayCall()) {
      ToolJson.putParts((ObjectNode) choice.path("delta"), parts);
    }
    putDetails(choice, logprobs, tokens);
    choice.putNull("finish_reason");
    if (request.streamUsage()) {
      root.putNull("usage");
    }
    return root;
  }

  private static String text(List<Part> parts) {
    return parts.stream()
        .map(part -> part instanceof Part.Text(String piece) ? piece : "")
        .collect(Collectors.joining());
  }

  /**
   * A text's last part.
   *
   * @param last whether all texts have ended, so that the metrics are known
   */
  ObjectNode end(int index, String piece, boolean last) {
    ObjectNode root = part(index, texts.get(index).parts(piece, true), List.of(), List.of());
    ObjectNode choice = (ObjectNode) root.path("choices").path(0);
    putDrafts(choice, texts.get(index));
    choice.put("finish_reason", texts.get(index).finishReason());
    if (last) {
      root.set("metrics", metrics());
    }
    return root;
  }

  /** The last part of a stream, if it is asked for: how many tokens there were. */
  ObjectNode usagePart() {
    ObjectNode root = root(true);
    root.putArray("choices");
    root.set("usage", usage());
    return root;
  }

  private ObjectNode root(boolean stream) {
    ObjectNode root = HttpJson.object();
    root.put("id", id);
    root.put("object", format.object(stream));
    root.put("created", created);
    root.put("model", model.name());
    return root;
  }

  private void putDetails(
      ObjectNode choice, List<TokenLogprob> logprobs, List<Event.Token> tokens) {
    if (request.logProbabilities() && !logprobs.isEmpty()) {
      choice.set("logprobs", format.logProbabilities(logprobs, model.tokenizer()));
    } else {
      choice.putNull("logprobs");
    }
    if (request.perToken()) {
      choice.set("early_exit", EarlyExitJson.tokens(tokens, model.tokenizer()));
    }
  }

  private void putDrafts(ObjectNode choice, ReplyChoice text) {
    if (request.perToken() && !text.drafts().isEmpty()) {
      choice.set("drafts", EarlyExitJson.drafts(text.drafts(), model.tokenizer()));
    }
  }

  private ObjectNode usage() {
    int prompt = request.prompts().stream().mapToInt(List::size).sum();
    int generated = texts.stream().mapToInt(text -> text.tokens().size()).sum();
    int reused =
        texts.stream()
            .flatMap(text -> text.result().stream())
            .mapToInt(result -> result.usage().reusedTokens())
            .sum();
    ObjectNode usage = HttpJson.object();
    usage.put("prompt_tokens", prompt);
    usage.put("completion_tokens", generated);
    usage.put("total_tokens", prompt + generated);
    usage.putObject("prompt_tokens_details").put("cached_tokens", reused);
    return usage;
  }

  ObjectNode metrics() {
    List<Result> results = texts.stream().flatMap(text -> text.result().stream()).toList();
    return EarlyExitJson.metrics(
        texts.stream().flatMap(text -> text.tokens().stream()).map(Event.Token::token).toList(),
        results,
        model.layers(),
        (System.nanoTime() - start) / 1e9);
  }
}
