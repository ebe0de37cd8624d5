package org.eellm.eval;

import java.util.ArrayList;
import java.util.List;
import org.eellm.decode.request.Decoding;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.Prediction;
import org.eellm.eval.Subject.Work;

/** A prompt, and how a model, the full one unless it is said, goes on with it greedily. */
public record OwnText(List<Integer> prompt, List<Integer> continuation) {

  /** Hears what an exit says of a token. */
  @FunctionalInterface
  interface Listener {
    /**
     * @param text its number, from 0
     * @param position of the token, from 0 for the first after the prompt
     */
    void hear(int text, int position, Prediction said);
  }

  public OwnText {
    prompt = List.copyOf(prompt);
    continuation = List.copyOf(continuation);
  }

  /** Lets the full model write. */
  public static List<OwnText> write(Subject subject, List<List<Integer>> prompts, int maxTokens) {
    return write(subject, prompts, maxTokens, Decoding.full());
  }

  /** Goes on with prompts greedily in a way that may not be the full model's. */
  public static List<OwnText> write(
      Subject subject, List<List<Integer>> prompts, int maxTokens, Decoding decoding) {
    List<Result> results =
        subject.run(
            prompts.stream()
                .map(
                    prompt ->
                        Work.silent(
                            new Request(
                                prompt,
                                maxTokens,
                                subject.endTokens(),
                                decoding,
                                Sampler.greedy())))
                .toList());
    List<OwnText> texts = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      texts.add(new OwnText(prompts.get(i), results.get(i).ids()));
    }
    return texts;
  }

  /** Asks all exits, each position's shallowest first, of all tokens after the prompts. */
  static void hear(Subject subject, List<OwnText> texts, Listener listener) {
    List<String> heads = Subject.heads(subject.exits()).subList(0, subject.exits().size());
    List<Work> works = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      int text = i;
      List<Integer> prompt = texts.get(i).prompt();
      List<Integer> ids = new ArrayList<>(prompt);
      ids.addAll(texts.get(i).continuation());
      works.add(
          Work.silent(
              Request.score(
                  ids,
                  prompt.size(),
                  heads,
                  (said, id) -> listener.hear(text, said.position() - prompt.size(), said))));
    }
    subject.run(works);
  }
}
