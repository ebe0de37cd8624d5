package org.eellm.serve;

import java.util.List;
import java.util.function.LongFunction;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.Detokenizer;

/**
 * Texts to be continued, whatever the endpoint that they came by.
 *
 * @param model that continues them
 * @param prompts ids of each, at least one
 * @param promptParam the field they are in, for messages
 * @param choices continuations of each prompt
 * @param maxTokens most tokens of a continuation; 0 only tells what the model says of the prompts
 * @param sampler by seed
 * @param seed of the first choice; the others have the numbers after it
 * @param alternatives how many of the most probable ids to tell with each token
 * @param logProbabilities whether to tell them
 * @param echo whether the prompt is part of the text
 * @param stopping where a continuation stopping
 * @param mayCall whether a continuation may call tools
 * @param perToken whether to tell where each token left
 * @param stream whether tokens are sent as they come
 * @param streamUsage whether a stream's last part has the usage
 */
record CompletionRequest(
    ServedModel model,
    List<List<Integer>> prompts,
    String promptParam,
    int choices,
    int maxTokens,
    DecodingMethod decoding,
    LongFunction<Sampler> sampler,
    long seed,
    int alternatives,
    boolean logProbabilities,
    boolean echo,
    StoppingCriteria stopping,
    boolean mayCall,
    boolean perToken,
    boolean stream,
    boolean streamUsage) {

  CompletionRequest {
    prompts = prompts.stream().map(List::copyOf).toList();
  }

  /** Turns a continuation into text, in which calls of tools can be found. */
  Detokenizer detokenizer(List<Integer> prompt) {
    Detokenizer plain = model.detokenizer(prompt);
    return mayCall ? plain.naming(model.template().toolSpecials(), model.tokenizer()) : plain;
  }

  /** Continuations of all prompts. */
  int allChoices() {
    return prompts.size() * choices;
  }

  /** The ids that a continuation follows. */
  List<Integer> promptOf(int choice) {
    return prompts.get(choice / choices);
  }

  /** Whether the model has to be asked about the prompts' own tokens. */
  boolean scoresPrompts() {
    return echo && logProbabilities || maxTokens == 0;
  }
}
