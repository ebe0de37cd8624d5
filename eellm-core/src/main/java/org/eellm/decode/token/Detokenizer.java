package org.eellm.decode.token;

import java.util.List;
import java.util.Set;
import org.eellm.data.tokenizer.StreamingDecoder;
import org.eellm.data.tokenizer.Tokenizer;

/** Turns one sequence's tokens into text as they come: a tokenizer's streaming decoder. */
public interface Detokenizer {

  /** The text that is certain once this token is there; often empty. */
  String append(int id);

  /** The rest, when no token follows. */
  String finish();

  /** One for the tokens that follow a prompt. */
  static Detokenizer after(List<Integer> prompt, Tokenizer tokenizer) {
    StreamingDecoder decoder = tokenizer.streamingDecoder();
    prompt.forEach(decoder::append); // some tokenizers treat the first token apart
    return new Detokenizer() {
      @Override
      public String append(int id) {
        return decoder.append(id);
      }

      @Override
      public String finish() {
        return decoder.finish();
      }
    };
  }

  /** This one, with the names of some special tokens where they stand. */
  default Detokenizer naming(Set<Integer> specials, Tokenizer tokenizer) {
    Detokenizer unnamed = this;
    return new Detokenizer() {
      @Override
      public String append(int id) {
        String text = unnamed.append(id);
        return specials.contains(id) ? text + tokenizer.piece(id) : text;
      }

      @Override
      public String finish() {
        return unnamed.finish();
      }
    };
  }
}
