package org.eellm.serve;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.chat.tool.ToolReader;
import org.eellm.chat.tool.ToolReader.Part;
import org.eellm.data.tokenizer.StreamingDecoder;
import org.eellm.decode.request.Draft;
import org.eellm.decode.request.Result;
import org.eellm.decode.token.GeneratedToken;

/** One text of a reply being generated. */
final class ReplyChoice {
  private final StreamingDecoder decoder;
  private final Optional<ToolReader> reader;
  private final StringBuilder content = new StringBuilder();
  private final List<TokenLogprob> logprobs = new ArrayList<>();
  private final List<GenerationStream.Event.Token> tokens = new ArrayList<>();
  private List<Draft> drafts = List.of();
  private int length;
  private String finishReason = "";
  private Optional<Result> result = Optional.empty();

  /**
   * @param prompt ids in front, which are no part of the text unless {@link #echo} says so
   */
  ReplyChoice(CompletionRequest request, List<Integer> prompt) {
    decoder = request.model().tokenizer().streamingDecoder();
    reader =
        request.mayCall()
            ? Optional.of(new ToolReader(request.model().template().toolForm()))
            : Optional.empty();
    if (!request.echo()) {
      prompt.forEach(decoder::append);
    }
  }

  /**
   * Puts a prompt in front.
   *
   * @param scores what the model says of its tokens but the first; may be empty
   */
  String echo(List<Integer> prompt, List<GeneratedToken> scores) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < prompt.size(); i++) {
      if (i == 0) {
        logprobs.add(TokenLogprob.first(prompt.getFirst()));
      } else if (!scores.isEmpty()) {
        logprobs.add(TokenLogprob.of(scores.get(i - 1), characters(text)));
      }
      text.append(decoder.append(prompt.get(i)));
    }
    length = characters(text);
    content.append(text);
    return text.toString();
  }

  /** Adds a token and returns its logprob. */
  TokenLogprob add(GenerationStream.Event.Token token) {
    TokenLogprob entry = TokenLogprob.of(token.token(), length);
    length += characters(decoder.append(token.token().id()));
    content.append(token.piece());
    logprobs.add(entry);
    tokens.add(token);
    return entry;
  }

  /** As Python counts them, whose clients cut a text by offsets. */
  private static int characters(CharSequence text) {
    return Character.codePointCount(text, 0, text.length());
  }

  /** What a piece of the text is: text, or calls of tools, as far as is certain. */
  List<Part> parts(String piece, boolean last) {
    if (reader.isEmpty()) {
      return List.of(new Part.Text(piece));
    }
    List<Part> parts = new ArrayList<>(reader.get().append(piece));
    if (last) {
      parts.addAll(reader.get().finish());
    }
    return parts;
  }

  void end(GenerationStream.Event.End end) {
    content.append(end.piece());
    finishReason = end.reason();
    result = Optional.of(end.result());
    drafts = end.drafts();
  }

  /** The drafts, in the order of the text. */
  List<Draft> drafts() {
    return drafts;
  }

  /** Ends a text that nothing follows. */
  void endWithoutContinuation() {
    finishReason = "length";
  }

  String content() {
    return content.toString();
  }

  List<TokenLogprob> logprobs() {
    return logprobs;
  }

  /** The generated tokens. */
  List<GenerationStream.Event.Token> tokens() {
    return tokens;
  }

  /** Why it ended, in OpenAI's words; empty before. */
  String finishReason() {
    boolean calls = reader.map(ToolReader::calls).orElse(0) > 0;
    return calls && finishReason.equals("stop") ? "tool_calls" : finishReason;
  }

  /** The result, if anything was generated. */
  Optional<Result> result() {
    return result;
  }
}
