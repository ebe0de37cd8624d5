package org.eellm.data;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import net.sf.extjwnl.JWNLException;
import net.sf.extjwnl.data.POS;
import net.sf.extjwnl.data.Synset;
import net.sf.extjwnl.dictionary.Dictionary;

/**
 * WordNet 3.1 as a corpus of short definitions, which comes as a dependency: about 118,000
 * documents, one a sense, such as {@code toy (noun): an artifact designed to be played with}. A
 * sense shared by several words is told of the first, so that no definition is there twice.
 */
public final class WordNetCorpus {
  private WordNetCorpus() {}

  /** All senses, in an order that is mixed and always the same. */
  public static Corpus load() {
    List<String> documents = new ArrayList<>();
    try {
      Dictionary dictionary = Dictionary.getDefaultResourceInstance();
      for (POS partOfSpeech : POS.getAllPOS()) {
        Iterator<Synset> senses = dictionary.getSynsetIterator(partOfSpeech);
        while (senses.hasNext()) {
          documents.add(document(senses.next()));
        }
      }
    } catch (JWNLException e) {
      throw new DataException("WordNet cannot be read from the class path: " + e.getMessage(), e);
    }
    // The files are sorted by meaning: without mixing, a split would hold out whole topics.
    Collections.shuffle(documents, new Random(0));
    return Corpus.of(documents);
  }

  private static String document(Synset sense) {
    String word = sense.getWords().getFirst().getLemma().replace('_', ' ');
    return "%s (%s): %s".formatted(word, sense.getPOS().getLabel(), sense.getGloss().strip());
  }
}
