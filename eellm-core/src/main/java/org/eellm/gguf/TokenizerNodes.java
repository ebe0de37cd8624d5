package org.eellm.gguf;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** Parts of a Hugging Face {@code tokenizer.json}. */
public final class TokenizerNodes {
  private TokenizerNodes() {}

  /** An object without fields. */
  public static ObjectNode object() {
    return JsonNodeFactory.instance.objectNode();
  }

  /** An entry of {@code added_tokens}: a token that is found in texts as it is written. */
  public static ObjectNode addedToken(int id, String content, boolean special) {
    return object()
        .put("id", id)
        .put("content", content)
        .put("single_word", false)
        .put("lstrip", false)
        .put("rstrip", false)
        .put("normalized", false)
        .put("special", special);
  }

  /**
   * A model of byte pairs without vocabulary and merges.
   *
   * @param fallsBack whether a character without a piece becomes pieces of its bytes
   * @param fuses whether unknown characters in a row become one token
   */
  static ObjectNode bytePairs(boolean fallsBack, boolean fuses) {
    return object()
        .put("type", "BPE")
        .putNull("dropout")
        .putNull("unk_token")
        .putNull("continuing_subword_prefix")
        .putNull("end_of_word_suffix")
        .put("fuse_unk", fuses)
        .put("byte_fallback", fallsBack);
  }
}
