package org.eellm.generate;

import java.util.List;
import java.util.Set;

/**
 * A text to be continued.
 *
 * @param prompt ids, at least one
 * @param maxTokens most tokens to generate, at least one
 * @param endTokens ids that end the text; such a token is the last of the result
 */
public record Request(
    List<Integer> prompt,
    int maxTokens,
    Set<Integer> endTokens,
    ExitPolicy policy,
    Sampler sampler) {

  public Request {
    prompt = List.copyOf(prompt);
    endTokens = Set.copyOf(endTokens);
    if (prompt.isEmpty()) {
      throw new GenerateException("the prompt is empty; give at least one token");
    }
    if (maxTokens < 1) {
      throw new GenerateException("max-tokens: " + maxTokens + " is below 1; use 1 or more");
    }
  }
}
