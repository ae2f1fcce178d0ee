"""What the voices say: sentences without end, put together from words that were written down for it.

English sentences follow a small grammar, or are lists of letters, digits and commands. Other languages string
their everyday words together and coin new ones: a chain over letters (Shannon 1948, section 3, of the third order)
makes what could be a word of the language, so that no voice is heard saying the same few words all day.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

_ENGLISH: Mapping[str, str] = MappingProxyType(
    {
        "the": "the the the a a my your our their this that every another some no her his",
        "adjective": """big small blue red green white black old young warm cold quiet loud soft hard early late simple
            purple bright dark heavy light quick slow sweet bitter happy sad brave proud gentle rough empty full famous
            private public perfect possible important wonderful beautiful terrible remarkable unusual American yellow
            orange foolish clever thirsty hungry narrow wide thick thin smooth sharp strange familiar honest modern""",
        "noun": """people book table window mother father brother paper water problem summer winter morning evening
            village bridge river mountain money garden kitchen chair door house voice picture movie camera mouth
            country company program moment number member president family woman man child boy girl friend baby bird
            horse wolf fish ship boat wheel bottle apple pepper bread butter coffee supper breakfast bedroom room
            market museum computer machine letter question answer reason story song music power peace war love life
            death future past hope fear thought theory method weather thunder leather feather tooth mouth youth
            judge bridge change measure treasure pleasure vision television garage church kitchen picture nature
            world work word bird earth nurse service office coffee photograph telephone elephant alphabet graph
            bubble puppet mammal memory mushroom umbrella bamboo pumpkin zebra lemon melon vowel flower tower""",
        "verb": """saw made found bought brought took gave kept left lost met heard believed remembered forgot wanted
            needed opened closed moved pushed pulled broke built painted wrote read sold moved carried watched loved
            hated missed followed helped called asked told showed paid sent put set cut hit bit let beat shook woke
            threw drew flew knew grew chose drove rode wore tore swore imagined discovered described improved""",
        "who": """I you we they he she nobody everybody somebody my mother the people your father the woman our boss
            both of them Bob Mary Peter Paul Emma Philip Victor Vivian Barbara Thomas Sophie William Olivia""",
        "where": """in the morning|at home|by the window|over there|in front of the house|with my brother|before noon
            |after the meal|from above|above the bridge|between the walls|near the shop|far away|every week|all the time
            |for a while|without a word|with both hands|in a moment|on Wednesday|tomorrow afternoon|five years ago""",
        "opening": """well|so|now|but|and|if you want|of course|maybe|I think|you know|as far as I know|first of all
            |by the way|to be honest|what we found is that|let me tell you|believe me|for example|however|in my opinion""",
        "question": """what do you mean|why would you do that|how much is it|where are we going|who was that
            |may I come in|could you move over please|do you believe me|what time is it|shall we begin
            |have you ever been there|is that all you wanted|when will they arrive""",
        "exclamation": """hello|good morning|thank you very much|oh no|wow|yes|no|please|okay|right|welcome back|my goodness
            |come on|wait a minute|never mind|look at me|stop it|that is fabulous|be my guest|go away""",
    }
)  # fmt: skip
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty hundred thousand"
)
_COMMANDS = "put take move set place bring lay push bin open close paint turn add drop keep"
_COLOURS = "blue green red white black brown pink grey"
_PLACES = "at by in with on for from over"
_ADVERBS = "again now please soon today twice maybe here"

# Everyday words, by espeak's code.
_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "de": """ich habe das nicht gewusst aber morgen fahren wir mit dem Zug nach Hause und sprechen über früher Bücher
            Mädchen Apfel pünktlich Freund zwischen Straße schön möglich Mutter Vater bitte danke Wasser können würde
            immer vielleicht Wohnung Arbeit plötzlich Öffnung Frühling Baum Pferd kämpfen zwölf fünf Woche""",
        "fr": """je ne sais pas pourquoi vous avez acheté cette maison bleue près du pont mais nous aimons beaucoup la
            musique et le pain un homme une femme peut-être toujours jamais bonjour merci beaucoup aujourd'hui
            heureux lumière jardin chambre plein matin brun vin bon enfant quelque chose rue lune pluie feuille soeur""",
        "es": """yo no quiero comer ahora porque tengo mucho trabajo pero mañana por la tarde vamos al pueblo con mi
            hermano el perro bebe agua blanca vino tinto siempre nunca quizás hombre mujer niño llave calle guerra
            lluvia bueno malo feliz jugar verdad pequeño grande buenos días muchas gracias zapato hijo""",
        "it": """non ho capito bene che cosa vuoi fare domani mattina con il vino e il pane della nonna buongiorno grazie
            mille sempre mai forse bambino donna uomo acqua fuoco giardino bellissima finestra sbagliato gnocchi figlio
            scuola pioggia piccolo grande bianco azzurro prezzo zucchero chiave amore parola""",
        "pt-br": """eu não sei por que você quer comprar pão com manteiga amanhã de manhã muito obrigado bom dia menino
            mulher homem coração água fogo sempre nunca talvez lua chuva filho velho trabalho palavra viagem gente
            pequeno grande branco azul feliz irmão irmã também avô porta""",
        "ru": """я не знаю почему вы хотите купить этот большой дом около реки но завтра утром мы поедем в город вместе
            спасибо пожалуйста хорошо плохо мужчина женщина ребёнок вода огонь любовь жизнь слово белый чёрный
            маленький счастье щука бабушка птица мама папа брат день ночь ёлка вечер фабрика""",
        "pl": """nie wiem dlaczego chcesz kupić ten biały dom przy rzece ale jutro rano pojedziemy do miasta dziękuję proszę
            dobrze źle mężczyzna kobieta dziecko woda ogień miłość życie słowo czarny mały szczęście chleb masło ptak
            babcia wieczór zawsze nigdy może piękny źródło""",
        "nl": """ik weet niet waarom jullie dat grote huis bij de brug willen kopen maar morgen gaan we naar buiten dank je
            wel alsjeblieft goed slecht man vrouw kind water vuur liefde leven woord wit zwart klein geluk brood boter
            vogel altijd nooit misschien mooi ui oude zuur schrijven""",
        "sv": """jag vet inte varför du vill köpa det stora huset vid bron men i morgon åker vi till staden tack så mycket
            snälla bra dålig man kvinna barn vatten eld kärlek liv ord vit svart liten lycka bröd smör fågel alltid
            aldrig kanske vacker sju skön björn hjälp""",
        "tr": """ben bunu neden istediğini bilmiyorum ama yarın sabah köprünün yanındaki büyük eve gideceğiz teşekkür ederim
            lütfen iyi kötü adam kadın çocuk su ateş aşk hayat kelime beyaz siyah küçük mutlu ekmek kuş her zaman belki
            güzel gözlük müzik pembe baba anne""",
        "fi": """en tiedä miksi haluat ostaa tuon suuren talon sillan vierestä mutta huomenna menemme yhdessä kaupunkiin
            kiitos ole hyvä hyvin huonosti mies nainen lapsi vesi tuli rakkaus elämä sana valkoinen musta pieni onni leipä
            voi lintu aina ehkä kaunis yö työ pöytä""",
        "hu": """nem tudom miért akarod megvenni azt a nagy házat a híd mellett de holnap reggel elmegyünk a városba
            köszönöm kérem jó rossz férfi nő gyerek víz tűz szerelem élet szó fehér fekete kicsi boldog kenyér vaj madár
            mindig soha talán szép gyümölcs""",
        "el": """δεν ξέρω γιατί θέλεις να αγοράσεις αυτό το μεγάλο σπίτι δίπλα στη γέφυρα αλλά αύριο το πρωί θα πάμε στην πόλη
            ευχαριστώ παρακαλώ καλά άσχημα άντρας γυναίκα παιδί νερό φωτιά αγάπη ζωή λέξη άσπρο μαύρο μικρό ψωμί πουλί
            πάντα ποτέ ίσως όμορφος μπαμπάς""",
        "hi": """मुझे नहीं पता कि आप पुल के पास वाला बड़ा घर क्यों खरीदना चाहते हैं लेकिन कल सुबह हम शहर जाएँगे धन्यवाद कृपया अच्छा
            बुरा आदमी औरत बच्चा पानी आग प्यार जीवन शब्द सफेद काला छोटा खुशी रोटी मक्खन पक्षी हमेशा कभी शायद सुंदर भाई बहन""",
        "ar": """لا أعرف لماذا تريد شراء هذا البيت الكبير قرب الجسر ولكن غدا صباحا سنذهب إلى المدينة معا شكرا جزيلا من فضلك
            جيد سيئ رجل امرأة طفل ماء نار حب حياة كلمة أبيض أسود صغير سعيد خبز زبدة طائر دائما أبدا ربما جميل باب""",
        "ja": """わたしは どうして あなたが はしの そばの おおきな いえを かいたいのか わかりません でも あしたの あさ まちへ いきましょう
            ありがとう ございます おねがいします おとこ おんな こども みず ひ ことば しろ くろ ちいさい しあわせ パン とり
            いつも たぶん きれい ぼく ふゆ べんきょう まめ""",
        "ko": """나는 당신이 왜 다리 옆의 큰 집을 사고 싶어 하는지 모르지만 내일 아침 우리는 함께 도시에 갈 것입니다 감사합니다
            부탁합니다 좋은 나쁜 남자 여자 아이 물 불 사랑 인생 단어 하얀 검은 작은 행복 빵 버터 새 항상 아마 아름다운 엄마""",
        "cmn": """我 不 知道 你 为什么 想 买 桥边 的 大 房子 但是 明天 早上 我们 一起 去 城里 谢谢 请 好 不好 男人 女人 孩子 水 火
            爱 生活 语言 白色 黑色 小 幸福 面包 鸟 总是 也许 漂亮 朋友 妈妈 爸爸 飞机 风 雨 月亮 学习 跑步 苹果 葡萄""",
        "vi": """tôi không biết tại sao bạn muốn mua ngôi nhà lớn gần cây cầu nhưng sáng mai chúng ta sẽ đi vào thành phố cảm ơn
            làm ơn tốt xấu đàn ông phụ nữ trẻ em nước lửa tình yêu cuộc sống từ trắng đen nhỏ hạnh phúc bánh mì bơ chim
            luôn có lẽ đẹp""",
        "id": """saya tidak tahu mengapa kamu mau membeli rumah besar di dekat jembatan tetapi besok pagi kita pergi bersama ke
            kota terima kasih tolong baik buruk pria perempuan anak air api cinta hidup kata putih hitam kecil bahagia
            roti mentega burung selalu mungkin cantik bapak ibu""",
        "sw": """sijui kwa nini unataka kununua nyumba kubwa karibu na daraja lakini kesho asubuhi tutaenda mjini pamoja asante
            sana tafadhali vizuri vibaya mwanamume mwanamke mtoto maji moto upendo maisha neno nyeupe nyeusi ndogo
            furaha mkate siagi ndege daima labda mzuri baba mama""",
        "cs": """nevím proč chceš koupit ten velký dům u řeky ale zítra ráno pojedeme spolu do města děkuji prosím dobře špatně
            muž žena dítě voda oheň láska život slovo bílý černý malý štěstí chléb máslo pták vždycky nikdy možná
            krásný řeka příběh babička""",
        "ro": """nu știu de ce vrei să cumperi casa aceea mare de lângă pod dar mâine dimineață mergem împreună în oraș
            mulțumesc te rog bine rău bărbat femeie copil apă foc dragoste viață cuvânt alb negru mic fericit pâine unt
            pasăre mereu poate frumos""",
    }
)  # fmt: skip
_WHOLE_WORDS = frozenset({"cmn", "ko", "hi", "ar"})  # whose words are not put together letter by letter
LANGUAGES: tuple[str, ...] = ("en-us", "en-gb", *_WORDS)


def sentence(language: str, rng: np.random.Generator) -> str:
    """Something to say in one of LANGUAGES."""
    if language.startswith("en"):
        return _english(rng)
    known = _WORDS[language].split()
    words = [str(rng.choice(known)) for _ in range(int(rng.integers(3, 11)))]
    if language not in _WHOLE_WORDS:
        words = [_coined(known, rng) if rng.random() < 0.45 else word for word in words]
    return _punctuated(words, rng)


def _english(rng: np.random.Generator) -> str:
    kind = rng.random()
    if kind < 0.15:
        letters = rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), int(rng.integers(2, 7)))
        return _punctuated(list(letters), rng)
    if kind < 0.25:
        return _punctuated(list(rng.choice(_NUMBERS.split(), int(rng.integers(2, 8)))), rng)
    if kind < 0.40:
        return _command(rng)
    if kind < 0.50:
        known = " ".join(_ENGLISH[part] for part in ("adjective", "noun", "verb")).lower().split()
        return _punctuated([_coined(known, rng) for _ in range(int(rng.integers(2, 7)))], rng)
    if kind < 0.58:
        return f"{_phrase('exclamation', rng)}! {_phrase('question', rng)}?"
    clause = _clause(rng)
    if rng.random() < 0.4:
        clause = f"{_phrase('opening', rng)}, {clause}"
    return f"{clause}, {_word('opening', rng)} {_clause(rng)}." if rng.random() < 0.3 else f"{clause}."


def _clause(rng: np.random.Generator) -> str:
    words = [_word("who", rng), _word("verb", rng), _word("the", rng)]
    if rng.random() < 0.6:
        words.append(_word("adjective", rng))
    words.append(_word("noun", rng))
    if rng.random() < 0.5:
        words.append(_phrase("where", rng))
    return " ".join(words)


def _command(rng: np.random.Generator) -> str:
    letter = str(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")))
    parts = [rng.choice(part.split()) for part in (_COMMANDS, _COLOURS, _PLACES)]
    return " ".join(
        [*map(str, parts), letter, str(rng.choice(_NUMBERS.split()[:10])), str(rng.choice(_ADVERBS.split()))]
    )


def _word(part: str, rng: np.random.Generator) -> str:
    return str(rng.choice(_ENGLISH[part].replace("|", " ").split()))


def _phrase(part: str, rng: np.random.Generator) -> str:
    return " ".join(str(rng.choice(_ENGLISH[part].split("|"))).split())


def _punctuated(words: list[str], rng: np.random.Generator) -> str:
    out = [word + ("," if rng.random() < 0.15 else "") for word in words[:-1]]
    return " ".join([*out, words[-1] + str(rng.choice(list(".?!"), p=(0.7, 0.2, 0.1)))])


def _coined(words: list[str], rng: np.random.Generator) -> str:
    """A word that follows these words' letters, three by three."""
    text = [f"^^{word.lower()}$" for word in words]
    made = "^^"
    while len(made) < 14:
        after = [word[i + 2] for word in text for i in range(len(word) - 2) if word[i : i + 2] == made[-2:]]
        letter = str(rng.choice(after))
        if letter == "$":
            break
        made += letter
    return made[2:]
