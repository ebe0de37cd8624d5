package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.List;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.token.GeneratedToken.Alternative;
import org.eellm.serve.json.HttpJson;

/** How an OpenAI endpoint writes texts and their tokens' logprobs. */
enum OpenAiFormat {
  COMPLETION("cmpl-", "text_completion", "text_completion") {
    @Override
    void putText(ObjectNode choice, String text) {
      choice.put("text", text);
    }

    @Override
    void putPiece(ObjectNode choice, String piece, boolean first) {
      choice.put("text", piece);
    }

    @Override
    ObjectNode logProbabilities(List<TokenLogprob> logprobs, Tokenizer tokenizer) {
      ObjectNode root = HttpJson.object();
      ArrayNode tokens = root.putArray("tokens");
      ArrayNode values = root.putArray("token_logprobs");
      ArrayNode alternatives = root.putArray("top_logprobs");
      ArrayNode offsets = root.putArray("text_offset");
      for (TokenLogprob token : logprobs) {
        tokens.add(name(token.id(), tokenizer));
        offsets.add(token.offset());
        if (token.logProbability().isEmpty()) {
          values.addNull();
          alternatives.addNull();
          continue;
        }
        values.add(token.logProbability().getAsDouble());
        ObjectNode best = alternatives.addObject();
        for (Alternative alternative : token.alternatives()) {
          best.put(name(alternative.id(), tokenizer), alternative.logProbability());
        }
      }
      return root;
    }

    /** A token's text, or its bytes where they are no text of their own. */
    private String name(int id, Tokenizer tokenizer) {
      String piece = tokenizer.piece(id);
      if (!piece.contains("\uFFFD")) {
        return piece;
      }
      StringBuilder name = new StringBuilder("bytes:");
      for (byte value : tokenizer.bytes(id)) {
        name.append("\\x").append(HexFormat.of().toHexDigits(value));
      }
      return name.toString();
    }
  },
  CHAT("chatcmpl-", "chat.completion", "chat.completion.chunk") {
    @Override
    void putText(ObjectNode choice, String text) {
      choice.putObject("message").put("role", "assistant").put("content", text);
    }

    @Override
    void putPiece(ObjectNode choice, String piece, boolean first) {
      ObjectNode delta = choice.putObject("delta");
      if (first) {
        delta.put("role", "assistant");
      }
      if (first || !piece.isEmpty()) {
        delta.put("content", piece);
      }
    }

    @Override
    ObjectNode logProbabilities(List<TokenLogprob> logprobs, Tokenizer tokenizer) {
      ObjectNode root = HttpJson.object();
      ArrayNode content = root.putArray("content");
      for (TokenLogprob token : logprobs) {
        ObjectNode entry = content.addObject();
        put(entry, token.id(), token.logProbability().orElseThrow(), tokenizer);
        ArrayNode alternatives = entry.putArray("top_logprobs");
        for (Alternative alternative : token.alternatives()) {
          put(alternatives.addObject(), alternative.id(), alternative.logProbability(), tokenizer);
        }
      }
      return root;
    }

    private void put(ObjectNode entry, int id, double logProbability, Tokenizer tokenizer) {
      String piece = tokenizer.piece(id);
      entry.put("token", piece);
      entry.put("logprob", logProbability);
      byte[] bytes = tokenizer.bytes(id);
      ArrayNode values = entry.putArray("bytes");
      // A special token has none of its own; its name stands for it.
      for (byte value : bytes.length == 0 ? piece.getBytes(StandardCharsets.UTF_8) : bytes) {
        values.add(value & 0xFF);
      }
    }
  };

  private final String idPrefix;
  private final String object;
  private final String streamObject;

  OpenAiFormat(String idPrefix, String object, String streamObject) {
    this.idPrefix = idPrefix;
    this.object = object;
    this.streamObject = streamObject;
  }

  /** The beginning of a reply's id. */
  String idPrefix() {
    return idPrefix;
  }

  /** The {@code object} field of a reply, whole or as a part of a stream. */
  String object(boolean stream) {
    return stream ? streamObject : object;
  }

  /** Puts a whole text into its choice. */
  abstract void putText(ObjectNode choice, String text);

  /**
   * Puts a part of a text into its choice.
   *
   * @param first whether no part has been before
   */
  abstract void putPiece(ObjectNode choice, String piece, boolean first);

  abstract ObjectNode logProbabilities(List<TokenLogprob> logprobs, Tokenizer tokenizer);
}
