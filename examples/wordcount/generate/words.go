package main

// The vocabulary: a harbour town, its people and its weather. Within a list the
// first words are the commonest. All nouns take a regular plural and all verbs
// are regular without a doubled consonant, so that the rules in grammar.go hold.

var nouns = list(`
	ship harbour keeper storm letter lantern sailor street tide house captain island
	morning rope window merchant door winter garden river boat ledger clock road
	baker mountain table bridge night story market sister brother teacher stranger
	doctor chart anchor signal lighthouse cargo barrel candle mirror kettle pier
	wharf sail mast compass net crew wave gull cloud shore reef cliff tower
	chapel bell kitchen lamp blanket coat button pocket coin purse basket apple
	orchard field wagon horse mule goat pigeon sparrow heron otter lobster herring
	oyster widow orphan cousin uncle daughter neighbour clerk mayor judge soldier
	prisoner pilot engineer carpenter cooper chandler tailor printer painter fiddler
	singer poet gardener farmer miller smith weaver potter hunter
	stone brick plank nail hammer chisel ladder wheel barrow oar rudder keel
	hull deck cabin hatch pump engine boiler valve lever spring gear cable
	chain knot flag whistle drum trumpet violin song verse page book map
	drawing painting portrait photograph newspaper rumour secret promise bargain
	debt wage price tax law contract quarrel wedding funeral feast journey voyage
	shipwreck rescue harvest fever cure dream shadow echo whisper silence question
	answer reason memory habit mistake warning custom holiday evening afternoon
	season summer autumn century hour minute corner threshold staircase cellar attic
	chimney hearth roof gutter fence gate path meadow marsh valley hill forest
	branch root seed flower thorn feather shell pebble current channel horizon star
	planet comet eclipse thermometer barometer telescope sextant almanac instrument
	workshop warehouse granary bakery tavern library museum theatre station railway
	tunnel canal sluice dam mill quarry mine furnace factory observatory embassy
`)

var transitive = list(`
	carry open follow watch repair close remember cross paint load gather measure
	answer call help deliver visit fasten mend light order promise count examine
	copy borrow lower hoist guard polish name sketch pack guide question rescue
	record inspect bury discover empty launch abandon trade recover frame tie
	collect admire describe notice ignore observe refuse accept return exchange
	steer tow anchor salvage auction inherit restore balance calculate survey
	photograph translate print publish destroy protect challenge accuse
	thank warn summon invite surprise puzzle frighten comfort persuade
	employ dismiss reward punish cheat pursue capture release imitate
`)

var intransitive = list(`
	wait arrive turn laugh walk rest remain work sail listen vanish whisper
	return wander dance linger tremble shiver hurry pause appear settle argue
	drift row sneeze sigh snore bark gossip grumble hesitate struggle
	collapse recover retire emigrate quarrel surrender daydream meander flourish
`)

var adjectives = list(`
	old small long cold grey quiet northern dark empty heavy good little white
	narrow first last young distant broken wooden bright southern western eastern
	green strange warm blue honest wet deep slow early late patient silent rusty
	golden hidden famous tall hungry weary careful clever curious gentle stubborn
	crooked hollow dusty salty frozen foggy windy stormy moonlit tidal foreign
	familiar forgotten ancient modern borrowed painted polished ragged striped
	copper silver iron woollen leather paper glass marble granite cheerful solemn
	nervous fearless generous jealous modest proud lonely lucky unlucky ordinary
	peculiar splendid terrible useful useless valuable worthless faithful restless
	reckless breathless sleepless nameless harmless invisible enormous tiny shallow
	steep slippery fragile sturdy elegant clumsy bitter sweet sour fragrant
	temporary permanent annual secretive talkative sceptical superstitious
	mathematical astronomical municipal imperial provincial nautical mechanical
`)

var adverbs = list(`
	slowly quietly again often always never once carefully soon early late
	suddenly gladly rarely patiently together alone twice silently bravely
	politely secretly gently boldly wisely foolishly faithfully cheerfully
	stubbornly anxiously reluctantly accidentally deliberately eventually
	occasionally tenderly clumsily solemnly meticulously inexplicably
`)

var prepositions = list(`
	in of on to at with from under near behind before after by across beside
	above against along beyond below through around inside towards between
	beneath over past without during despite
`)

var determiners = list(`the the the the the a a a his her their every that this one no another each`)

var pluralDeterminers = list(`the the the the his her their two three some many those these seven twelve forty few several all`)

var joiners = list(`and but while because so when although until as if since unless whereas though`)

var openers = list(`
	then|now|at first|by noon|at dusk|that evening|years later|in those days|
	once a year|before long|as usual|in the end|on the third day|to this day|
	by lantern light|at low tide|against all advice|without a word|
	in the spring|all winter long|of course|strangely enough|
`)

var pronouns = list(`he she it they we nobody everyone somebody I you`)

// The parts of invented surnames and places. Their combinations are the long
// tail: many words that occur once or twice.
var (
	nameHeads = list(`Ald Bar Cor Dun El Fal Gar Hal Ing Jor Kel Lor Mar Nor Os Pel Quar Ros Sel Tor Ul Ver Wes Yar Zan Bran Cald Drum Esk Thorn`)
	nameMids  = list(`a e o en er il an or un ath is em ov ar ick ond ust`)
	nameTails = list(`by ford holm wick mouth stead ton ness dale mere low march well haven gate worth bury thwaite sund vik rock lund`)
)
